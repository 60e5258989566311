import type { MagnitudeHistogram } from "../report/quantization-report.ts";
import type { PartStatistics } from "./part-statistics.ts";

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

/** What a quantized model was computed with, in words. */
export interface Arithmetic {
  /** Such as `float32 on NVIDIA H200, sm_90`. */
  readonly layers: string;
  readonly methods: string;
}

/** Gathers figures of activations while a forward pass runs. */
export interface ActivationCollector {
  /** Takes `[tokens, width]` in. */
  add(activations: Float32Array, tokens: number): void;
}

/** Gathers what methods want to know; after `statistics` nothing is added. */
export interface StatisticsCollector extends ActivationCollector {
  statistics(): PartStatistics;
}

/** Gathers what reports show; after `histogram` nothing is added. */
export interface MagnitudeCollector extends ActivationCollector {
  histogram(): MagnitudeHistogram;
}

/** Activations that a forward pass hands out. */
export type LayerTap = {
  /** Module whose inputs are wanted, or `keys` and `values` as they are stored: after RoPE. */
  readonly name: string;
} & (
  | {
      /** Reads `[tokens, width]`, valid during the call only. */
      readonly read: (activations: Float32Array, tokens: number) => void;
    }
  | {
      /** One of the runtime's `collectors` may take the activations in where they lie. */
      readonly into: ActivationCollector;
    }
);

/** Hands activations to a tap. */
export function feedTap(tap: LayerTap, activations: Float32Array, tokens: number): void {
  if ("read" in tap) tap.read(activations, tokens);
  else tap.into.add(activations, tokens);
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
  /** What the layers and the methods compute with, in words for the report; absent: float64 methods of this process. */
  readonly arithmetic?: Arithmetic | undefined;
  /** Collectors that gather on the device that runs the layers, and compute there. Absent: statistics are those of this process. */
  readonly collectors?:
    | {
        /** For so many tokens in all. */
        statistics(width: number, tokenCount: number): StatisticsCollector;
        magnitudes(width: number): MagnitudeCollector;
      }
    | undefined;
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
