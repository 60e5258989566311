import type { ModelConfig } from "@kvant/checkpoint";
import { LayerRunner, openModel } from "@kvant/engine";
import type { ForwardLayerOptions, LayerTensors, QuantizeRuntime } from "@kvant/quantizers";

export interface RandomLayerOptions {
  /** A named shape, such as `llama3-8b`, or a model folder, whose weights are not read. */
  readonly shape: string;
  readonly device: string;
  readonly threads?: number | undefined;
}

// Normal numbers by the inverse of their distribution at the middles of equal parts: one draw is one look-up.
const tableBits = 12;
const normalTable = Float32Array.from({ length: 2 ** tableBits }, (_, i) => inverseNormal((i + 0.5) / 2 ** tableBits));

/** Some channels of the residual stream are much larger than the others, as in models of that size. */
const outlierEvery = 97;
const outlierFactor = 12;

/**
 * A decoder layer of a named shape with random weights: normal, 1 / sqrt(cols) wide, one in 64 rows four times that. Calibration
 * states are random, too: `embed` draws them from the first token id.
 */
export class RandomLayer implements QuantizeRuntime {
  readonly runner: LayerRunner;
  readonly config: ModelConfig;
  readonly #weights = new Map<string, Float32Array>(); // by name inside the layer

  /** @throws KvantError CONFIG_INVALID for other shapes, and what a backend throws */
  constructor({ shape, device, threads }: RandomLayerOptions) {
    const { config } = openModel({ model: shape, load: "dummy" });
    // The embedding table takes no part.
    this.config = { ...config, layerCount: 1, vocabSize: 1 };
    const { hiddenSize } = this.config;
    const checkpoint = {
      tensors: new Map(),
      readRows: () => {
        throw new Error("a random layer has no tensors on disk");
      },
      readFloat32: () => new Float32Array(hiddenSize),
    };
    this.runner = new LayerRunner({ config: this.config, checkpoint, device, threads });
  }

  get collectors(): QuantizeRuntime["collectors"] {
    return this.runner.collectors;
  }
  get layerCount() {
    return this.config.layerCount;
  }
  get hiddenSize() {
    return this.config.hiddenSize;
  }
  get kvHeadCount() {
    return this.config.kvHeadCount;
  }
  get headDim() {
    return this.config.headDim;
  }
  get vocabSize() {
    return this.config.vocabSize;
  }
  get contextLength() {
    return this.config.contextLength;
  }
  get beginningOfSequenceId() {
    return undefined;
  }
  get arithmetic() {
    return this.runner.arithmetic;
  }

  parts(layer: number) {
    return this.runner.parts(layer);
  }

  tensorNames(layer: number): readonly string[] {
    return this.runner.tensorNames(layer);
  }

  forwardLayer(
    layer: number,
    tensors: LayerTensors,
    states: readonly Float32Array[],
    options: ForwardLayerOptions,
  ): Promise<void> {
    return this.runner.forwardLayer(layer, tensors, states, options);
  }

  /** `[tokens, hiddenSize]` */
  embed(tokenIds: Int32Array): Float32Array {
    const { hiddenSize } = this;
    const states = normals(1 + tokenIds[0]!, tokenIds.length * hiddenSize, 1);
    for (let token = 0; token < states.length; token += hiddenSize) {
      for (let channel = 0; channel < hiddenSize; channel += outlierEvery) states[token + channel]! *= outlierFactor;
    }
    return states;
  }

  /** A tensor of the layer by its name in a checkpoint. */
  readTensor(name: string): Float32Array {
    const inLayer = name.replace(/^model\.layers\.\d+\./, "");
    const known = this.#weights.get(inLayer);
    if (known !== undefined) return known;
    const values = this.#draw(inLayer);
    this.#weights.set(inLayer, values);
    return values;
  }

  #draw(inLayer: string): Float32Array {
    const { hiddenSize, intermediateSize, headCount, kvHeadCount, headDim } = this.config;
    const shapes: Readonly<Record<string, readonly [number, number]>> = {
      "self_attn.q_proj": [headCount * headDim, hiddenSize],
      "self_attn.k_proj": [kvHeadCount * headDim, hiddenSize],
      "self_attn.v_proj": [kvHeadCount * headDim, hiddenSize],
      "self_attn.o_proj": [hiddenSize, headCount * headDim],
      "mlp.gate_proj": [intermediateSize, hiddenSize],
      "mlp.up_proj": [intermediateSize, hiddenSize],
      "mlp.down_proj": [hiddenSize, intermediateSize],
    };
    const matrix = shapes[inLayer.replace(/\.(weight|bias)$/, "")];
    if (inLayer.endsWith("norm.weight"))
      return new Float32Array(inLayer.includes("_norm.") ? headDim : hiddenSize).fill(1);
    if (matrix === undefined) throw new Error(`a random layer has no tensor "${inLayer}"`);
    const [rows, cols] = matrix;
    if (inLayer.endsWith(".bias")) return new Float32Array(rows);
    const values = normals(inLayer.length * 7919 + rows, rows * cols, 1 / Math.sqrt(cols));
    for (let row = 0; row < rows; row += 64) {
      for (let i = row * cols; i < (row + 1) * cols; i++) values[i]! *= 4;
    }
    return values;
  }
}

function normals(seed: number, count: number, deviation: number): Float32Array {
  const values = new Float32Array(count);
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    values[i] = normalTable[state >>> (32 - tableBits)]! * deviation;
  }
  return values;
}

/** The quantile of the normal distribution by bisection of its distribution function (Abramowitz and Stegun 26.2.17). */
function inverseNormal(share: number): number {
  let [low, high] = [-6, 6];
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2;
    if (normalShare(middle) < share) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

function normalShare(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const tail =
    (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) *
    t *
    (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return x > 0 ? 1 - tail : tail;
}
