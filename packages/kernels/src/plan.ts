import type { ActivationFormatName, KvFormatName, WeightFormat } from "@kvant/formats";

declare const bufferIdBrand: unique symbol;
declare const weightIdBrand: unique symbol;

/** Index into `Plan.buffers`. */
export type BufferId = number & { readonly [bufferIdBrand]: true };
/** Index into `Plan.weights`. */
export type WeightId = number & { readonly [weightIdBrand]: true };

/**
 * One activation buffer: float32 `[rows, width]`, row-major. `rows` is the number of tokens of the step, or the number of
 * tokens whose logits are wanted. A buffer is written by exactly one op (or by the caller, for `Plan.inputs`).
 */
export interface PlanBuffer {
  readonly id: BufferId;
  readonly name: string;
  readonly width: number;
  readonly rows: "tokens" | "logits";
}

/** What a weight is for; decides what a scheme quantizes and how memory is reported. */
export type WeightClass = "embedding" | "linear" | "head" | "norm" | "bias";

/** How the activations of a linear op are coded before the product. Part of the scheme, never chosen by batch size or backend. */
export type ActivationScheme =
  | { readonly format: "fp32" | "bf16" | "fp16" }
  /** One AbsMax scale per token, computed in the step. */
  | { readonly format: "int8" | "e4m3"; readonly scale: "token" }
  /** One static scale for the tensor, from calibration. */
  | { readonly format: "int8" | "e4m3"; readonly scale: number };

export interface PlanWeight {
  readonly id: WeightId;
  /** Name of the checkpoint tensor, e.g. `model.layers.0.self_attn.q_proj.weight`. Tied weights repeat the name. */
  readonly name: string;
  readonly class: WeightClass;
  /** Output features of a linear, vocabulary of an embedding or head, 1 of a norm or bias. */
  readonly rows: number;
  readonly cols: number;
  readonly format: WeightFormat;
  /** Present on classes `linear` and `head`. */
  readonly activation: ActivationScheme | undefined;
}

/** Rotary embedding in the half-rotation form: value pairs are (i, i + headDim / 2). */
export interface RopeTable {
  /** `[headDim / 2]`, radians per position. */
  readonly inverseFrequencies: Float32Array;
  /** Multiplies cos and sin (YaRN's attention factor); 1 elsewhere. */
  readonly magnitude: number;
}

/** Layers that share a page table: same window, KV heads, head dim and formats. */
export interface KvGroup {
  readonly layerCount: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens a query can see, itself included; undefined: all. */
  readonly window: number | undefined;
  readonly format: KvFormatName;
  readonly scales: KvScales;
}

export type KvScales =
  /** One scale per token and KV head, computed at write. The only choice for calibration-free caches. */
  | { readonly kind: "token-head" }
  /** Static: `k` and `v` are `[layerCount, kvHeads]` (kind head) or `[layerCount]` (kind tensor). */
  | { readonly kind: "head" | "tensor"; readonly k: Float32Array; readonly v: Float32Array }
  /** 16- and 32-bit formats have none. */
  | { readonly kind: "none" };

export type Op =
  /** out[t] = table[tokenIds[t]] */
  | { readonly op: "embed"; readonly table: WeightId; readonly out: BufferId }
  /** out = x / sqrt(mean(x^2) + epsilon) * weight, over each run of `weight.cols` values: whole rows, or heads. */
  | {
      readonly op: "rmsNorm";
      readonly x: BufferId;
      readonly weight: WeightId;
      readonly epsilon: number;
      readonly out: BufferId;
    }
  /** out[t, n] = sum_k x[t, k] * w[n, k] (+ bias[n]) */
  | {
      readonly op: "linear";
      readonly x: BufferId;
      readonly weight: WeightId;
      readonly bias: WeightId | undefined;
      readonly out: BufferId;
    }
  /** out = x + y */
  | { readonly op: "add"; readonly x: BufferId; readonly y: BufferId; readonly out: BufferId }
  /** Rotates each head of x by the token's position. */
  | {
      readonly op: "rope";
      readonly x: BufferId;
      readonly rope: number;
      readonly headDim: number;
      readonly out: BufferId;
    }
  /** Quantizes and stores k and v `[T, kvHeads * headDim]` at the tokens' slots of one layer. */
  | {
      readonly op: "kvWrite";
      readonly k: BufferId;
      readonly v: BufferId;
      readonly group: number;
      readonly layer: number;
    }
  /** out = softmax(scale * q K^T) V over the stored pages, causal, within the group's window. q, out: `[T, heads * headDim]` */
  | {
      readonly op: "attention";
      readonly q: BufferId;
      readonly group: number;
      readonly layer: number;
      readonly heads: number;
      readonly scale: number;
      readonly out: BufferId;
    }
  /** out = silu(gate) * up */
  | { readonly op: "siluMul"; readonly gate: BufferId; readonly up: BufferId; readonly out: BufferId }
  /** out = gelu(gate) * up, by the hyperbolic tangent's approximation. */
  | { readonly op: "geluMul"; readonly gate: BufferId; readonly up: BufferId; readonly out: BufferId }
  /** Keeps the tokens whose logits are wanted; out has `rows: "logits"`. */
  | { readonly op: "gatherRows"; readonly x: BufferId; readonly out: BufferId }
  /** Hands out an activation under a name; keeps the buffer alive to the end of the step. */
  | { readonly op: "tap"; readonly x: BufferId; readonly name: string };

export type OpName = Op["op"];

/** SwiGLU and GeGLU (Shazeer, arXiv:2002.05202). */
export type GatedOpName = "siluMul" | "geluMul";

/** A model as data. Ops run in order; every buffer is written before it is read. */
export interface Plan {
  readonly name: string;
  readonly vocabSize: number;
  /** Positions 0 .. contextLength - 1 are valid. */
  readonly contextLength: number;
  readonly buffers: readonly PlanBuffer[];
  readonly weights: readonly PlanWeight[];
  readonly ropes: readonly RopeTable[];
  readonly kvGroups: readonly KvGroup[];
  readonly ops: readonly Op[];
  /** Buffers that the caller writes before a step (conformance cases); none for a model. */
  readonly inputs: readonly BufferId[];
  /** Buffers that stay readable after the step, besides taps and logits. */
  readonly outputs: readonly BufferId[];
  /** `[logit rows, vocabSize]`; undefined for plans without a head. */
  readonly logits: BufferId | undefined;
}

/** The activation formats a linear op can name. */
export type LinearActivation = ActivationFormatName;
