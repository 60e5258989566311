/**
 * Linear layers that read the same activations. A factor per input channel can move between them and what made those
 * activations: output channel `source[c]` of `madeBy` makes channel c (several may share one, as query heads share a KV head).
 */
export interface LayerPart {
  /** Modules in the order of the architecture, such as `model.layers.0.self_attn.q_proj`; the first one's name is the tap's. */
  readonly modules: readonly string[];
  /** Input channels. */
  readonly width: number;
  /** The norm or linear module whose output channels these are, up to products that commute with a factor per channel. */
  readonly madeBy: { readonly kind: "norm" | "linear"; readonly module: string };
  /** `[width]` output channel of `madeBy` that makes each input channel. */
  readonly source: Int32Array;
  /** Whether `madeBy` has a bias, which a factor scales too. */
  readonly hasSourceBias: boolean;
}

/** The tensors of one decoder layer by their names in the checkpoint, as float32. */
export type LayerTensors = ReadonlyMap<string, Float32Array>;

/** Activations that a forward pass hands out. */
export interface LayerTap {
  /** Module whose inputs are wanted, or `keys` and `values` as they are stored: after RoPE. */
  readonly name: string;
  /** Reads `[tokens, width]`, valid during the call only. */
  readonly read: (activations: Float32Array, tokens: number) => void;
}

export interface ForwardLayerOptions {
  readonly taps: readonly LayerTap[];
  /** `replace`: the layer's output takes the place of its input. `keep`: only the taps are of interest. */
  readonly states: "replace" | "keep";
  /** After each sequence. */
  readonly onSequence?: (() => void) | undefined;
}

/**
 * What quantizing a model needs of whoever can run one; `@kvant/engine` has it over plans and backends. Everything else here
 * works on matrices alone.
 */
export interface QuantizeRuntime {
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly beginningOfSequenceId: number | undefined;
  /** Parts of a decoder layer in the order in which they are computed. */
  parts(layer: number): readonly LayerPart[];
  /** Names of all tensors of a decoder layer, biases and norms included. */
  tensorNames(layer: number): readonly string[];
  /** Rows of the embedding table, `[tokens, hiddenSize]`. */
  embed(tokenIds: Int32Array): Float32Array;
  /**
   * Runs one decoder layer with these tensors over sequences of hidden states `[tokens, hiddenSize]`, each from position 0.
   * Holds one layer's weights at a time.
   */
  forwardLayer(
    layer: number,
    tensors: LayerTensors,
    states: readonly Float32Array[],
    options: ForwardLayerOptions,
  ): Promise<void>;
}

/** Names of the taps of what a layer stores. */
export const keysTap = "keys";
export const valuesTap = "values";
