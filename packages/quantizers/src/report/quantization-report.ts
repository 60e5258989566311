import type { Arithmetic } from "../model/quantize-runtime.ts";
import type { QuantizationError } from "../quantization-error.ts";

/** Counts of values by magnitude: bin i holds `2^(lowExponent + i / binsPerOctave) <= |x| < 2^(lowExponent + (i + 1) / binsPerOctave)`. */
export interface MagnitudeHistogram {
  readonly lowExponent: number;
  readonly binsPerOctave: number;
  readonly counts: readonly number[];
  /** Values that are exactly 0. */
  readonly zeroCount: number;
}

/** Counts of values over equal bins from `low` to `high`. */
export interface ValueHistogram {
  readonly low: number;
  readonly high: number;
  readonly counts: readonly number[];
}

/** What quantization has done to one linear layer. */
export interface LinearReport {
  /** Module name, such as `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** Full name, such as `int4-g128`. */
  readonly weightFormat: string;
  /** Such as `bf16`, `int8 (per token)`, `int8 (static)`. */
  readonly activations: string;
  readonly method: string;
  /** Bits stored per weight, scales and zero points included. */
  readonly bitsPerWeight: number;
  /** Bits of a code where the container is wider (INT3 and INT2 lie in INT4's); else absent. */
  readonly codeBits?: number;
  /** Against the weights that were quantized (after folding). */
  readonly weight: QuantizationError;
  /** `||X (W - Q)^T|| / ||X W^T||` over the calibration activations; null without calibration. */
  readonly outputRelativeError: number | null;
  /** The same of round to nearest under the same format; null without calibration. */
  readonly roundToNearestOutputError: number | null;
  readonly weightsBefore: ValueHistogram;
  readonly weightsAfter: ValueHistogram;
  readonly scales: MagnitudeHistogram;
  /** Inputs of the layer in the original model and after folding; null without calibration. */
  readonly activationsBefore: MagnitudeHistogram | null;
  readonly activationsAfter: MagnitudeHistogram | null;
  /** Scale of static activations; null where they are dynamic or not quantized. */
  readonly activationScale: number | null;
  /** What the method has to say beyond figures, such as the damping that it needed. */
  readonly notes: readonly string[];
}

/** A tensor that stayed as it was. */
export interface KeptTensor {
  readonly name: string;
  readonly format: string;
  readonly bytes: number;
  readonly reason: string;
}

/** Everything about one run of `quantizeModel`; written as `quantization-report.json`. */
export interface QuantizationReport {
  readonly version: 1;
  readonly model: string;
  readonly recipe: unknown;
  readonly calibration: {
    readonly files: readonly string[];
    readonly sampleCount: number;
    readonly sampleTokens: number;
    readonly seed: number;
  } | null;
  /** What calibration and the methods computed with; absent from reports of runtimes that do not tell. */
  readonly arithmetic?: Arithmetic | undefined;
  readonly linears: readonly LinearReport[];
  readonly kept: readonly KeptTensor[];
  /** Static KV scales: by layer, what was observed. */
  readonly kv: {
    readonly format: string;
    readonly granularity: "head" | "tensor";
    readonly layers: readonly {
      readonly layer: number;
      readonly k: readonly number[];
      readonly v: readonly number[];
    }[];
  } | null;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Over the linear layers that were quantized. */
  readonly bitsPerWeight: number;
  readonly seconds: number;
  readonly peakResidentBytes: number;
}

/** Quality of the quantized model beside the original's, measured on a text; added by the caller who can run models. */
export interface QualityReport {
  readonly text: string;
  readonly tokens: number;
  readonly originalPerplexity: number;
  readonly quantizedPerplexity: number;
  /** Mean difference of negative log-likelihoods in nats per token, quantized minus original, with its 95 % interval. */
  readonly nllDifference: { readonly mean: number; readonly low: number; readonly high: number };
  /** Nats per token, KL(original || quantized). */
  readonly klDivergence: number;
  /** Share of positions where both prefer the same token, 0 to 1. */
  readonly top1Agreement: number;
}
