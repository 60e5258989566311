import type { HeldCodes } from "../weight-codes.ts";

/**
 * The whole surface of the native addon. Plain data crosses it: numbers, strings, typed arrays. `native/src/addon` is the
 * other side; the two change together and `abi` counts the changes.
 */
export const NATIVE_ABI = 8;

export type NativeDtype = "fp32" | "bf16" | "fp16";

export interface NativeBuffer {
  readonly width: number;
  readonly rows: "tokens" | "logits";
  /** Buffers with the same slot share memory; the lowering guarantees that their lifetimes do not overlap. */
  readonly slot: number;
  /** 1: read from outside after a step, so its values must be written. */
  readonly kept: number;
}

export interface NativeWeight {
  /** `matrix`: packed for linear; `table`: rows looked up by token id, kept in a float format; `vector`: float32 values. */
  readonly kind: "matrix" | "table" | "vector";
  readonly rows: number;
  readonly cols: number;
  /** fp32 bf16 fp16 int8 int4 e4m3 e5m2 e2m1 */
  readonly format: string;
  /** Values per scale along a row; 0: no scales (float formats); -1: one per row; -2: one per tensor part. */
  readonly groupSize: number;
  /** fp32 bf16 fp16 int8, e4m3 on CUDA (matrix only). */
  readonly activation: string;
  /** 0: dynamic, one scale per token. */
  readonly activationScale: number;
  /** How the scales of a matrix are held: float32, float32 with zero points, or one byte (MXFP4, NVFP4). */
  readonly scales: "fp32" | "affine" | "e8m0" | "e4m3";
}

export interface NativeKvGroup {
  readonly layerCount: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** 0: none. */
  readonly window: number;
  readonly format: string;
  readonly pageTokens: number;
  readonly pageCount: number;
  /** Pages of host memory to swap to; 0: none. */
  readonly hostPageCount: number;
  readonly pageBytes: number;
  readonly layerBytes: number;
  /** Byte offsets inside a layer. */
  readonly kCodes: number;
  readonly vCodes: number;
  readonly kScales: number;
  readonly vScales: number;
  /** Empty: token-head scales or none; else `[layerCount, kvHeads]`, already expanded from head or tensor. */
  readonly kStatic: Float32Array;
  readonly vStatic: Float32Array;
}

/** Buffers and weights by index; -1 for absent. */
export type NativeOp =
  | { readonly op: "embed"; readonly table: number; readonly out: number }
  /** out = rmsNorm(x); with residual >= 0 first x += residual, stored to x. */
  | {
      readonly op: "rmsNorm";
      readonly x: number;
      readonly residual: number;
      readonly weight: number;
      readonly epsilon: number;
      readonly out: number;
    }
  | { readonly op: "linear"; readonly x: number; readonly weight: number; readonly bias: number; readonly out: number }
  | { readonly op: "add"; readonly x: number; readonly y: number; readonly out: number }
  | { readonly op: "rope"; readonly x: number; readonly rope: number; readonly headDim: number; readonly out: number }
  | { readonly op: "kvWrite"; readonly k: number; readonly v: number; readonly group: number; readonly layer: number }
  /** Fused: qkv `[T, (heads + 2 kvHeads) * headDim]`; q/k norm (weights >= 0), RoPE (rope >= 0), store K and V, q to out. */
  | {
      readonly op: "qkvStore";
      readonly qkv: number;
      readonly heads: number;
      readonly qNorm: number;
      readonly kNorm: number;
      readonly epsilon: number;
      readonly rope: number;
      readonly group: number;
      readonly layer: number;
      readonly out: number;
    }
  | {
      readonly op: "attention";
      readonly q: number;
      readonly heads: number;
      readonly scale: number;
      readonly group: number;
      readonly layer: number;
      readonly out: number;
    }
  /** gate and up are buffers; up = -1: x is `[T, 2 F]`, gate then up. */
  | { readonly op: "siluMul" | "geluMul"; readonly gate: number; readonly up: number; readonly out: number }
  | { readonly op: "gatherRows"; readonly x: number; readonly out: number };

export interface NativePlan {
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly buffers: readonly NativeBuffer[];
  readonly weights: readonly NativeWeight[];
  readonly ropes: readonly { readonly inverseFrequencies: Float32Array; readonly magnitude: number }[];
  readonly kvGroups: readonly NativeKvGroup[];
  readonly ops: readonly NativeOp[];
  /** Buffer index, -1 for none. */
  readonly logits: number;
}

export interface NativeOptions {
  readonly maxRows: number;
  readonly maxTokens: number;
  readonly maxLogitRows: number;
  /** `cpu`, `cuda` or `cuda:N`. */
  readonly device: string;
  /** `cpu` only. */
  readonly threads: number;
  /** `cpu` only. Empty: the best present. */
  readonly tier: string;
  /** `cuda` only; 1: batch-invariant kernels alone. The CPU's always are. */
  readonly deterministic: number;
}

export interface NativeRowUpdate {
  readonly slot: number;
  readonly promptIds: Int32Array;
  readonly outputIds: Int32Array;
  /** `[9]` temperature, topP, minP, repetition, frequency, presence, topK, minTokens, topLogprobs. */
  readonly numbers: Float64Array;
  /** `[2]` Philox key, low and high word. */
  readonly seed: Uint32Array;
  readonly biasIds: Int32Array;
  readonly biases: Float32Array;
  readonly suppressedIds: Int32Array;
}

export interface NativeStep {
  readonly rowSlots: Int32Array;
  readonly rowStarts: Int32Array;
  readonly rowPositions: Int32Array;
  readonly rowWants: Uint8Array;
  readonly tokenIds: Int32Array;
  readonly targets: Int32Array;
  readonly pageAppends: Int32Array;
  readonly pageSwaps: Int32Array;
  readonly pageCopies: Int32Array;
  readonly rowUpdates: readonly NativeRowUpdate[];
}

export interface NativeStepResult {
  readonly sampledIds: Int32Array;
  readonly sampledLogprobs: Float32Array;
  /** `[rows, 20]`, id -1 past the row's count; empty where no row has any. */
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
  readonly logits: Float32Array;
  readonly scores: Float32Array;
  readonly seconds: number;
  readonly gapSeconds?: number;
  readonly saturations: number;
}

export interface NativeExecutable {
  /** Rows `rowOffset ..` of a weight from a float source; a fused weight is loaded in parts. `-2` scales are per call. */
  loadWeight(index: number, rowOffset: number, rows: number, dtype: NativeDtype, data: Uint8Array): void;
  /** The same rows from codes and scales, read during the call. */
  loadCodes(index: number, rowOffset: number, rows: number, source: HeldCodes): void;
  /** Loads kernels and makes graphs ahead of the steps that need them; nothing on `cpu`. */
  warmUp(): void;
  /** Copies its inputs, returns at once; `done` is called on the JS thread, with a message on failure. */
  submit(step: NativeStep, done: (error: string | undefined, result: NativeStepResult | undefined) => void): void;
  writeBuffer(index: number, values: Float32Array): void;
  /** Fills an array of exactly as many values. */
  readBuffer(index: number, rows: number, to: Float32Array): void;
  /** `cuda` only: adds rows of a buffer to statistics on the same device. Returns before the device is done. */
  gather(index: number, rows: number, into: NativeCalibration): void;
  readPage(group: number, page: number): Uint8Array;
  /** Names of the chosen kernels, one per op. */
  variants(): string[];
  memory(): { weights: number[]; kv: number; activations: number };
  /** Waits for steps in flight and frees everything; later calls throw. */
  close(): void;
}

export interface NativeInfo {
  /** The tier in force, after KVANT_CPU_TIER. */
  readonly tier: string;
  /** Tiers that this build has and this machine can run, best first. */
  readonly tiers: string[];
  /** Tiers that this build has and the processor carries but this process may not use, each with the reason. */
  readonly refusedTiers: Readonly<Record<string, string>>;
  readonly cores: number;
  readonly compiler: string;
  /** Why CUDA is absent; undefined when present. */
  readonly cudaAbsent: string | undefined;
}

/** An array laid out as a matrix: element [row, col] is `data[offset + row * rowStride + col * colStride]`. */
export interface NativeMatrixView<Data extends Float32Array | Float64Array = Float32Array | Float64Array> {
  readonly data: Data;
  readonly offset: number;
  readonly rowStride: number;
  readonly colStride: number;
}

/** `target [rows, cols] += sign * left [rows, depth] . right [depth, cols]`; target shares no element with the operands. */
export interface NativeProduct {
  readonly target: NativeMatrixView<Float64Array>;
  readonly left: NativeMatrixView;
  readonly right: NativeMatrixView;
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  readonly sign: 1 | -1;
  /** Leaves out tiles of 64 x 64 that lie wholly above the diagonal of `target`. */
  readonly lowerOnly?: boolean;
}

/** Work on whole matrices that happens before a model runs: synchronous, and on several threads. */
export interface NativeQuantizeMath {
  addProduct(product: NativeProduct): void;
  /** Fills `codes` and `scales`, which have the lengths of a QuantizedTensor's. */
  quantizeAbsMax(matrix: {
    readonly values: Float32Array; // [rows, cols]
    readonly rows: number;
    readonly cols: number;
    /** int8 int4 int3 int2 e4m3 e5m2 e2m1 */
    readonly format: string;
    /** Values per scale along a row; -1: one scale per row; -2: one for the matrix. */
    readonly groupSize: number;
    readonly codes: Uint8Array;
    readonly scales: Float32Array;
  }): void;
  /** Fills `values`: `(table[code] - zero) * scale`. */
  dequantize(
    matrix: NativeScaledMatrix & {
      readonly codes: Uint8Array;
      /** 8 or 4 */
      readonly storedBits: number;
      readonly table: Float32Array; // [256]
      readonly values: Float32Array; // [rows, cols]
    },
  ): void;
  /** Sums over rows, and then over the rows' sums, first to last. */
  sumErrors(
    matrix: NativeScaledMatrix & {
      readonly original: Float32Array; // [rows, cols]
      readonly restored: Float32Array; // [rows, cols]
      /** Largest code, and how much further than its value it reaches. */
      readonly max: number;
      readonly halfStep: number;
    },
  ): {
    readonly signal: number;
    readonly noise: number;
    readonly largestError: number;
    readonly saturatedCount: number;
    readonly zeroedCount: number;
    readonly nonFiniteCount: number;
  };
  /** Fills `out` with `values` times the factors, or divided by them; they belong to columns, or to rows. */
  scaleMatrix(matrix: {
    readonly values: Float32Array; // [rows, cols]
    readonly rows: number;
    readonly cols: number;
    readonly factors: Float32Array; // [cols] or [rows]
    readonly byRow: boolean;
    readonly divides: boolean;
    readonly out: Float32Array; // [rows, cols]
  }): void;
  /** Whether no value is NaN or infinite. */
  allFinite(values: Float32Array): boolean;
  /** Counts over `bins` equal bins from -reach to reach, the largest magnitude of both arrays. */
  countValues(
    before: Float32Array,
    after: Float32Array,
    bins: number,
  ): { readonly reach: number; readonly before: Float64Array; readonly after: Float64Array };
}

/** A matrix [rows, cols] with scales along its rows. */
export interface NativeScaledMatrix {
  readonly rows: number;
  readonly cols: number;
  /** Values per scale along a row; -1: one scale per row; -2: one for the matrix. */
  readonly groupSize: number;
  readonly scales: Float32Array;
  /** Empty where the format has no zero points. */
  readonly zeros: Int8Array;
}

/** A matrix [rows, width] and the format that it takes. */
export interface NativeGridMatrix {
  readonly values: Float32Array;
  readonly rows: number;
  /** int8 int4 int3 int2 e4m3 e5m2 e2m1 */
  readonly format: string;
  /** Values per scale along a row; -1: one scale per row; -2: one for the matrix. */
  readonly groupSize: number;
  /** 1: with zero points. */
  readonly affine: number;
  /** Empty: float32 scales; e8m0 or e4m3. */
  readonly scaleFormat: string;
}

/** Arrays that are filled; codes and scales as in a QuantizedTensor. */
export interface NativeCodedMatrix {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  /** As many as scales, whether the format has zero points or not. */
  readonly zeros: Int8Array;
  /** `[rows, width]`, what the codes stand for. */
  readonly restored: Float32Array;
}

/** Per row `E G E^T` of round to nearest and of the result. */
export interface NativeRowErrors {
  readonly nearest: Float64Array;
  readonly own: Float64Array;
  /** NVFP4 only; else 0. */
  readonly tensorScale: number;
}

/** Statistics of activations on a CUDA device, and what is computed through their Gram matrix; synchronous. */
export interface NativeCalibration {
  add(values: Float32Array, tokens: number): void;
  figures(): {
    readonly sums: Float64Array; // [width] of magnitudes
    readonly largest: Float32Array; // [width] magnitudes
    readonly squares: Float64Array; // [width]; empty without a Gram matrix
    readonly bins: Float64Array; // [100]
    readonly zeros: number;
    readonly sample: Float32Array; // [samples, width]
  };
  readGram(to: Float64Array): void;
  divide(scales: Float32Array): NativeCalibration;
  quantizeGptq(
    matrix: NativeGridMatrix,
    options: { readonly damping: number; readonly actOrder: number; readonly staticScales: number },
    to: NativeCodedMatrix,
  ): NativeRowErrors & { readonly damping: number; readonly deadColumns: number; readonly keptRows: number };
  /** `candidates` [count, width] of column scales. */
  awqLosses(matrix: NativeGridMatrix, candidates: Float32Array): Float64Array;
  awqClip(
    matrix: NativeGridMatrix,
    shrinks: Float32Array,
    to: NativeCodedMatrix,
  ): NativeRowErrors & { readonly shrinks: Float32Array };
  outputErrors(values: Float32Array, rounded: Float32Array | undefined, rows: number): Float64Array;
  /** Frees everything; later calls throw. */
  close(): void;
}

export interface NativeAddon {
  readonly abi: number;
  info(): NativeInfo;
  /** What a device `cuda` or `cuda:N` is called; throws BACKEND_UNAVAILABLE with the reason. */
  cudaDevice(device: string): string;
  /** Bytes of a CUDA device, once this process has its context there; throws as `cudaDevice`. */
  cudaMemory(device: string): {
    free: number;
    total: number /** The most that this process has held at one time. */;
    peak: number;
  };
  /** Throws as `cudaDevice`, and where there is no cuBLASLt. */
  createCalibration(options: {
    readonly device: string;
    readonly width: number;
    /** 1: with a Gram matrix. */
    readonly gram: number;
    readonly sampleStride: number;
    readonly sampleCapacity: number;
  }): NativeCalibration;
  /** Why matrix products on a device do not go through cuBLASLt; undefined when they do. The first call opens the library. */
  cublasltAbsence(): string | undefined;
  createExecutable(plan: NativePlan, options: NativeOptions): NativeExecutable;
  /** Absent from addons built before there was one. `tier`: empty for the one in force. */
  createQuantizeMath?(options: { readonly threads: number; readonly tier: string }): NativeQuantizeMath;
  /** Sequential read bandwidth in bytes per second: `bytes` of touched memory, all threads, several prefetched streams. */
  probeRead(bytes: number, threads: number, repeats: number): number[];
  /**
   * Peak of a tier's multipliers in operations per second, operands in registers: `float32` fused multiply-adds, or its dot
   * product of 8-bit integers. A multiply-add is two operations. `tier`: empty for the one in force.
   */
  probeCompute(kind: "float32" | "int8", tier: string, threads: number, repeats: number): number[];
  /** Read bandwidth of a CUDA device in bytes per second, one figure per repeat; throws as `cudaDevice`. */
  probeDeviceRead(device: string, bytes: number, repeats: number): number[];
  /**
   * Peak of a CUDA device's multipliers in operations per second on random operands; a multiply-add is two. `fp64` with and
   * `fp32` without tensor cores. A device without E4M3 multipliers is probed with fp16 for `e4m3`, which is what its kernels decode to.
   */
  probeDeviceMatmul(
    device: string,
    kind: "fp64" | "fp32" | "fp16" | "bf16" | "int8" | "e4m3",
    repeats: number,
  ): number[];
}
