import { addGram } from "../linear-algebra/gram.ts";
import { MagnitudeCounts } from "../report/magnitude-counts.ts";
import { type CalibrationGram, hostGram } from "./calibration-gram.ts";
import type {
  ForwardLayerOptions,
  LayerTap,
  LayerTensors,
  MagnitudeCollector,
  QuantizeRuntime,
  StatisticsCollector,
} from "./quantize-runtime.ts";

/** Activation rows that a search over whole tokens looks at. */
const sampleRows = 256;

/** Every so many of `tokenCount` tokens one belongs to the sample, the first one first. */
export function sampleStride(tokenCount: number): number {
  return Math.max(1, Math.ceil(tokenCount / sampleRows));
}

/** What calibration has seen of the activations that a part of a layer reads. */
export interface PartStatistics {
  readonly width: number;
  readonly tokenCount: number;
  /** X^T X */
  readonly gram: CalibrationGram;
  /** `[width]` mean |x| per channel. */
  readonly meanMagnitude: Float32Array;
  /** `[width]` max |x| per channel. */
  readonly maxMagnitude: Float32Array;
  /** `[samples, width]` tokens at even distances. */
  readonly sample: Float32Array;
  readonly sampleCount: number;
  readonly magnitudes: Pick<MagnitudeCollector, "histogram">;
}

/** Gathers `PartStatistics` in this process while a forward pass runs. `tokenCount` is how many tokens will come in all. */
export class PartCollector implements StatisticsCollector {
  readonly #width: number;
  readonly #stride: number;
  readonly #gram: Float64Array;
  readonly #sums: Float64Array;
  readonly #max: Float32Array;
  readonly #sample: Float32Array[] = [];
  readonly #magnitudes = new MagnitudeCounts();
  #seen = 0;

  constructor(width: number, tokenCount: number) {
    this.#width = width;
    this.#stride = sampleStride(tokenCount);
    this.#gram = new Float64Array(width * width);
    this.#sums = new Float64Array(width);
    this.#max = new Float32Array(width);
  }

  /** Takes `[tokens, width]` in. */
  add(activations: Float32Array, tokens: number): void {
    const width = this.#width;
    addGram(activations, tokens, width, this.#gram);
    for (let token = 0; token < tokens; token++) {
      for (let channel = 0; channel < width; channel++) {
        const magnitude = Math.abs(activations[token * width + channel]!);
        this.#sums[channel]! += magnitude;
        if (magnitude > this.#max[channel]!) this.#max[channel] = magnitude;
      }
      if ((this.#seen + token) % this.#stride === 0) {
        this.#sample.push(activations.slice(token * width, (token + 1) * width));
      }
    }
    this.#magnitudes.add(activations);
    this.#seen += tokens;
  }

  statistics(): PartStatistics {
    const width = this.#width;
    const sample = new Float32Array(this.#sample.length * width);
    for (const [index, row] of this.#sample.entries()) sample.set(row, index * width);
    return {
      width,
      tokenCount: this.#seen,
      gram: hostGram(this.#gram, width),
      meanMagnitude: Float32Array.from(this.#sums, (sum) => (this.#seen === 0 ? 0 : sum / this.#seen)),
      maxMagnitude: this.#max,
      sample,
      sampleCount: this.#sample.length,
      magnitudes: this.#magnitudes,
    };
  }
}

/** Runs a decoder layer and gathers the statistics of each of its parts, in their order. */
export async function collectStatistics(
  runtime: QuantizeRuntime,
  layer: number,
  tensors: LayerTensors,
  states: readonly Float32Array[], // [sequences][tokens, hiddenSize]
  options: Omit<ForwardLayerOptions, "taps">,
): Promise<readonly PartStatistics[]> {
  const tokenCount = states.reduce((sum, each) => sum + each.length / runtime.hiddenSize, 0);
  const watched = runtime.parts(layer).map(({ modules, width }) => {
    const collector = runtime.collectors?.statistics(width, tokenCount) ?? new PartCollector(width, tokenCount);
    const tap: LayerTap = { name: modules[0]!, into: collector };
    return { collector, tap };
  });
  await runtime.forwardLayer(layer, tensors, states, { ...options, taps: watched.map(({ tap }) => tap) });
  return watched.map(({ collector }) => collector.statistics());
}

/** The statistics of the same activations with each channel divided by its scale, but for the histogram, which stays. */
export function dividedStatistics(statistics: PartStatistics, scales: Float32Array): PartStatistics {
  const { width, gram, sample, meanMagnitude, maxMagnitude } = statistics;
  return {
    ...statistics,
    gram: gram.divide(scales),
    meanMagnitude: meanMagnitude.map((value, channel) => value / scales[channel]!),
    maxMagnitude: maxMagnitude.map((value, channel) => value / scales[channel]!),
    sample: sample.map((value, i) => value / scales[i % width]!),
  };
}
