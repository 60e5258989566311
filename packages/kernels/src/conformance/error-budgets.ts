import type { ActivationFormatName, KvFormatName } from "@kvant/formats";

/** How far a backend may be from the reference: largest difference over the largest magnitude of a buffer. */
export interface ErrorBudget {
  readonly limit: number;
  readonly reason: string;
}

/** Nothing is rounded, or both sides round the same way. */
export const exact: ErrorBudget = { limit: 0, reason: "copies and single roundings are exact" };

export const siluMulBudget: ErrorBudget = {
  limit: 4e-7,
  reason: "an exponential to a few units in the last place, a division and a product in float32",
};

export const geluMulBudget: ErrorBudget = {
  limit: 1e-6,
  reason: "as siluMul; the cubic in the exponent is rounded to float32 three times more",
};

export const ropeBudget: ErrorBudget = {
  limit: 4e-7,
  reason: "sines and cosines of double angles, rounded to float32 once, then two products",
};

export const rmsNormBudget: ErrorBudget = {
  limit: 5e-7,
  reason: "a float32 sum of squares over the width, a square root and two products",
};

/** Linear ops by activation format; the weights' codes are the same on both sides in all of them. */
export const linearBudgets: Readonly<Record<ActivationFormatName, ErrorBudget>> = {
  fp32: { limit: 2e-6, reason: "float32 sums over up to 256 products in another order than the reference's doubles" },
  bf16: { limit: 2e-6, reason: "activations round to bf16 on both sides alike; the sums are float32" },
  fp16: { limit: 2e-6, reason: "activations round to fp16 on both sides alike; the sums are float32" },
  int8: { limit: 4e-7, reason: "integer dot products are exact; scales and the sum over groups are float32" },
  e4m3: { limit: 2e-6, reason: "activation codes are the same on both sides; the sums are float32" },
};

const scaledAttention: ErrorBudget = {
  limit: 2e-6,
  reason: "as fp32: codes decode exactly, and scales enter once per token and head",
};

/** Attention by KV format. */
export const attentionBudgets: Readonly<Record<KvFormatName, ErrorBudget>> = {
  fp32: { limit: 2e-6, reason: "float32 dot products and a float32 softmax over up to 150 positions" },
  bf16: { limit: 2e-6, reason: "as fp32: codes decode exactly" },
  fp16: { limit: 2e-6, reason: "as fp32: codes decode exactly" },
  e4m3: scaledAttention,
  e5m2: scaledAttention,
  int8: {
    limit: 1e-4,
    reason:
      "queries have the same codes on both sides and products of codes are exact; " +
      "a tier may round softmax weights to 2^-17 of the largest of 64 positions",
  },
};

/**
 * What tensor cores may add where a backend's arithmetic is not exact. Formats that are absent keep the budgets above: fp32
 * never becomes TF32, and integer products stay exact.
 */
export const tensorCoreBudgets: {
  readonly linear: Partial<Readonly<Record<ActivationFormatName, ErrorBudget>>>;
  readonly attention: Partial<Readonly<Record<KvFormatName, ErrorBudget>>>;
} = {
  linear: {
    bf16: { limit: 1e-5, reason: "products of 16-bit operands are exact; tensor cores truncate their float32 sums" },
    fp16: { limit: 1e-5, reason: "as bf16" },
    e4m3: {
      limit: 1e-3,
      reason: "FP8 tensor cores keep 13 fraction bits of a sum of 32 products; those sums are added in float32",
    },
  },
  attention: {
    bf16: { limit: 8e-3, reason: "chunks round queries and softmax weights to bf16, 2^-9 each, over float32 sums" },
    fp16: { limit: 2e-3, reason: "chunks round queries and softmax weights to fp16, a few times 2^-11" },
    e4m3: { limit: 2e-3, reason: "as fp16, which holds every code exactly" },
    e5m2: { limit: 2e-3, reason: "as fp16, which holds every code exactly" },
    int8: { limit: 2e-3, reason: "as fp16 for softmax weights; queries have the reference's INT8 codes" },
  },
};

/** Two decoder layers: what the ops of a layer may add up to, by the coarsest rounding on the way. */
export const decoderBudgets = {
  float: { limit: 1e-5, reason: "some twenty ops of up to 1e-6 each, with fp32 activations and KV" },
  rounding: {
    limit: 3e-2,
    reason:
      "a difference of one float32 rounding can move an activation or KV code to its neighbour, 1/254 of the largest value",
  },
  manyFp8Activations: {
    limit: 0.15,
    reason:
      "as above, but neighbours of large e4m3 codes are 1/14 of the largest value apart, and of hundreds of tokens some meet it",
  },
  fp8TensorCores: {
    limit: 0.15,
    reason: "neighbours of large e4m3 codes are 1/14 of the largest value apart, and FP8 sums differ by up to 1e-3",
  },
} as const satisfies Record<string, ErrorBudget>;
