import { addGram } from "../linear-algebra/gram.ts";
import { MagnitudeCounts } from "../report/magnitude-counts.ts";

/** Activation rows that a search over whole tokens looks at. */
const sampleRows = 256;

/** What calibration has seen of the activations that a part of a layer reads. */
export interface PartStatistics {
  readonly width: number;
  readonly tokenCount: number;
  /** `[width, width]` X^T X. */
  readonly gram: Float64Array;
  /** `[width]` mean |x| per channel. */
  readonly meanMagnitude: Float32Array;
  /** `[width]` max |x| per channel. */
  readonly maxMagnitude: Float32Array;
  /** `[samples, width]` tokens at even distances. */
  readonly sample: Float32Array;
  readonly sampleCount: number;
  readonly magnitudes: MagnitudeCounts;
}

/** Gathers `PartStatistics` while a forward pass runs. `tokenCount` is how many tokens will come in all. */
export class PartCollector {
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
    this.#stride = Math.max(1, Math.ceil(tokenCount / sampleRows));
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
      gram: this.#gram,
      meanMagnitude: Float32Array.from(this.#sums, (sum) => (this.#seen === 0 ? 0 : sum / this.#seen)),
      maxMagnitude: this.#max,
      sample,
      sampleCount: this.#sample.length,
      magnitudes: this.#magnitudes,
    };
  }
}

/** The statistics of the same activations with each channel divided by its scale. */
export function dividedStatistics(statistics: PartStatistics, scales: Float32Array): PartStatistics {
  const { width, gram, sampleCount, sample, meanMagnitude, maxMagnitude } = statistics;
  const divided = new Float64Array(gram.length);
  for (let row = 0; row < width; row++) {
    for (let col = 0; col < width; col++) {
      divided[row * width + col] = gram[row * width + col]! / (scales[row]! * scales[col]!);
    }
  }
  return {
    ...statistics,
    gram: divided,
    meanMagnitude: meanMagnitude.map((value, channel) => value / scales[channel]!),
    maxMagnitude: maxMagnitude.map((value, channel) => value / scales[channel]!),
    sample: sampleCount === 0 ? sample : sample.map((value, i) => value / scales[i % width]!),
  };
}
