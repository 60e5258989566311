// A one-layer model small enough to check by hand: 8 tokens, width 16, 2 query heads on 1 KV head of 8 values.
import { createRequire } from "node:module";

export const addon = createRequire(import.meta.url)("../dist/kvant.node");

const vocabulary = 8;
const width = 16;
const none = new Float32Array(0);

/** Pages of fp32 K and V: codes of `[1 head, 16 tokens, 8 values]` each. */
const kvGroup = {
  ...{ layerCount: 1, kvHeads: 1, headDim: 8, window: 0, format: "fp32", pageTokens: 16, pageCount: 9 },
  ...{ hostPageCount: 3, kStatic: none, vStatic: none },
  ...{ pageBytes: 1024, layerBytes: 1024, kCodes: 0, vCodes: 512, kScales: 1024, vScales: 1024 },
};

const matrix = { kind: "matrix", format: "fp32", groupSize: 0, activation: "fp32", activationScale: 0, scales: "fp32" };

export const plan = {
  vocabSize: vocabulary,
  contextLength: 64,
  buffers: [
    { width, rows: "tokens", slot: 0, kept: 1 },
    { width: 32, rows: "tokens", slot: 1, kept: 1 },
    { width, rows: "tokens", slot: 2, kept: 1 },
    { width, rows: "tokens", slot: 3, kept: 1 },
    { width, rows: "tokens", slot: 4, kept: 1 },
    { width, rows: "logits", slot: 5, kept: 1 },
    { width: vocabulary, rows: "logits", slot: 6, kept: 1 },
  ],
  weights: [
    { ...matrix, kind: "table", rows: vocabulary, cols: width },
    { ...matrix, rows: 32, cols: width },
    { ...matrix, kind: "vector", rows: 1, cols: width },
    { ...matrix, rows: vocabulary, cols: width },
  ],
  ropes: [{ inverseFrequencies: Float32Array.of(1, 0.1, 0.01, 0.001), magnitude: 1 }],
  kvGroups: [kvGroup],
  ops: [
    { op: "embed", table: 0, out: 0 },
    { op: "linear", x: 0, weight: 1, bias: -1, out: 1 },
    { op: "qkvStore", qkv: 1, heads: 2, qNorm: -1, kNorm: -1, epsilon: 0, rope: 0, group: 0, layer: 0, out: 2 },
    { op: "attention", q: 2, heads: 2, scale: 0.35, group: 0, layer: 0, out: 3 },
    { op: "rmsNorm", x: 0, residual: 3, weight: 2, epsilon: 1e-5, out: 4 },
    { op: "gatherRows", x: 4, out: 5 },
    { op: "linear", x: 5, weight: 3, bias: -1, out: 6 },
  ],
  logits: 6,
};

export const options = {
  maxRows: 4,
  maxTokens: 64,
  maxLogitRows: 32,
  device: "cpu",
  threads: 2,
  tier: "",
  deterministic: 0,
};

const bytes = (values) => new Uint8Array(values.buffer);
/** Fixed values without pattern in -1 .. 1. */
const values = (count, seed) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 + seed * 78.233));

/** The first `count` weights. */
export function loadWeights(executable, count = plan.weights.length) {
  plan.weights.slice(0, count).forEach(({ rows, cols }, index) => {
    executable.loadWeight(index, 0, rows, "fp32", bytes(values(rows * cols, index)));
  });
}

export function tinyExecutable(changes = {}) {
  const executable = addon.createExecutable(plan, { ...options, ...changes });
  loadWeights(executable);
  return executable;
}

export const emptyStep = {
  rowSlots: new Int32Array(0),
  rowStarts: Int32Array.of(0),
  rowPositions: new Int32Array(0),
  rowWants: new Uint8Array(0),
  tokenIds: new Int32Array(0),
  targets: new Int32Array(0),
  pageAppends: new Int32Array(0),
  pageSwaps: new Int32Array(0),
  pageCopies: new Int32Array(0),
  rowUpdates: [],
};

export function rowUpdate(slot, changes = {}) {
  return {
    ...{ slot, promptIds: new Int32Array(0), outputIds: new Int32Array(0), seed: Uint32Array.of(1, 2) },
    numbers: Float64Array.of(0, 1, 0, 1, 0, 0, 0, 0, -1),
    ...{ biasIds: new Int32Array(0), biases: new Float32Array(0), suppressedIds: new Int32Array(0) },
    ...changes,
  };
}

/** One row: `ids` at `position`; its first page is `slot + 1`. */
export function rowStep(slot, position, ids, want, changes = {}) {
  return {
    ...emptyStep,
    rowSlots: Int32Array.of(slot),
    rowStarts: Int32Array.of(0, ids.length),
    rowPositions: Int32Array.of(position),
    rowWants: Uint8Array.of(want),
    tokenIds: Int32Array.from(ids),
    ...(position === 0 ? { pageAppends: Int32Array.of(slot, 0, 0, slot + 1), rowUpdates: [rowUpdate(slot)] } : {}),
    ...changes,
  };
}

export function submit(executable, step) {
  return new Promise((resolve, reject) => {
    executable.submit(step, (error, result) => (error === undefined ? resolve(result) : reject(new Error(error))));
  });
}
