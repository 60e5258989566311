import type { QuantizedTensor } from "@kvant/formats";
import type { CalibrationOptions, DeviceCalibration } from "./cuda/device-calibration.ts";
import type { BufferId, Plan, WeightId } from "./plan.ts";
import type { StepInputs, StepOutputs } from "./step.ts";

export interface BackendInfo {
  readonly name: "reference" | "cpu" | "cuda";
  /** Instruction tier or device, e.g. `avx512vnni`. */
  readonly tier: string;
  readonly threads: number;
  /**
   * `exact`: sums are of float32 in one fixed order, so the bits of a sequence do not depend on its batch. `tensor-cores`: an
   * op may round its operands to 16 bit, and the batch may choose the order of its sums.
   */
  readonly arithmetic: "exact" | "tensor-cores";
}

export interface CompileOptions {
  /** Tokens per KV page: 16, 32 or 64. */
  readonly pageTokens: number;
  /** `[kvGroups]` pages of each group's pool, the reserved page 0 included. */
  readonly pageCounts: readonly number[];
  /** `[kvGroups]` pages of host memory that each group's pages can be swapped out to; 0, or absent altogether: no swap. */
  readonly hostPageCounts?: readonly number[] | undefined;
  /** Row slots. */
  readonly maxRows: number;
  /** Tokens in one step. */
  readonly maxTokens: number;
  /** Tokens in one step whose logits are computed. */
  readonly maxLogitRows: number;
}

/** A weight as the checkpoint stores it: `[rows, cols]` row-major in a float format. */
export interface WeightSource {
  readonly dtype: "fp32" | "bf16" | "fp16";
  readonly data: Uint8Array;
}

export interface MemoryReport {
  /** Bytes of weights (codes and scales) by weight format name, e.g. `int8-channel`. */
  readonly weightBytes: Readonly<Record<string, number>>;
  readonly kvCodeBytes: number;
  readonly kvScaleBytes: number;
  readonly activationBytes: number;
}

/** What a device with memory of its own has, and what a plan takes of it beside its KV pages; in bytes. */
export interface DeviceMemory {
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly weightBytes: number;
  readonly activationBytes: number;
  /** Kept free for what is not known before the plan is compiled: workspaces of kernels, row states, graphs. */
  readonly reserveBytes: number;
}

/** Whether a device gathers statistics of activations and quantizes through them, or why not. */
export interface CalibrationPresence {
  /** Why it does not; undefined when it does. */
  readonly absence: () => string | undefined;
  /** Throws BACKEND_UNAVAILABLE with the reason, or OUT_OF_MEMORY. */
  readonly create: (options: CalibrationOptions) => DeviceCalibration;
}

export interface Backend {
  readonly info: BackendInfo;
  /** Absent where plans run in the machine's own memory. */
  readonly deviceMemory?: (plan: Plan, options: Omit<CompileOptions, "pageCounts">) => DeviceMemory;
  /** Statistics of activations where they lie. Absent where that is the machine's own memory. */
  readonly calibration?: CalibrationPresence;
  /** Throws OP_UNSUPPORTED naming the op, or OUT_OF_MEMORY with the bytes asked for. */
  compile(plan: Plan, options: CompileOptions): Executable;
}

/** A plan made ready on one device. Steps run in submission order; two may be in flight. */
export interface Executable {
  readonly plan: Plan;
  /** The kernel variant chosen per lowered op, e.g. `linear_int8-channel_int8_avx512vnni`. */
  readonly variants: readonly string[];
  /**
   * Quantizes (AbsMax) to the plan's format and packs; once per weight, and every weight before the first step. The data
   * is read during the call only. Throws TENSOR_SHAPE when the bytes do not match.
   */
  loadWeight(id: WeightId, source: WeightSource): void;
  /**
   * Rows `firstRow ..` of a weight that `loadsByRows`, as many as the source holds; each row once. Absent where a backend
   * takes whole tensors only.
   */
  loadWeightRows?: ((id: WeightId, firstRow: number, source: WeightSource) => void) | undefined;
  /**
   * Rows `firstRow ..` of a weight from codes and scales, taken exactly as they are; each row once. A weight that does not
   * `loadsByRows` comes whole. Products are then those of the tensor's values, whatever form a backend holds scales in: those of
   * `mxfp4` must be powers of two, those of `nvfp4` E4M3 numbers times the tensor's `tensorScale`. Throws INVALID_ARGUMENT
   * when the tensor's format is not the plan's or a number does not fit the format, TENSOR_SHAPE when lengths do not match.
   */
  loadQuantized(id: WeightId, firstRow: number, tensor: QuantizedTensor): void;
  /**
   * Does now what the first steps of each size would do, such as loading kernels and recording graphs, without running any sequence.
   * Every weight must have been loaded; only between steps. Absent where a first step is like any other. Throws OUT_OF_MEMORY.
   */
  warmUp?: (() => void) | undefined;
  /** Throws INVALID_ARGUMENT for inputs outside the compiled limits, naming value and limit; rejects with NATIVE_FAILED. */
  submit(inputs: StepInputs): Promise<StepOutputs>;
  /** Sets `[rows, width]` of an input buffer for the next step. Only between steps. */
  writeBuffer(id: BufferId, values: Float32Array): void;
  /**
   * The first `rows` rows of an output, tap or logits buffer after a step, in a new array or in `into`, which has as many values.
   * Only between steps.
   */
  readBuffer(id: BufferId, rows: number, into?: Float32Array): Float32Array;
  /**
   * Adds the first `rows` rows of such a buffer to statistics of the same device, which goes on with it by itself. Only between
   * steps. Absent, or throws OP_UNSUPPORTED, where the backend has no `calibration`.
   */
  gather?: ((id: BufferId, rows: number, into: DeviceCalibration) => void) | undefined;
  /** A copy of one page's bytes in the layout of DESIGN §6. Only between steps. */
  readPage(group: number, page: number): Uint8Array;
  memory(): MemoryReport;
  /** Waits for steps in flight, then frees everything. */
  close(): Promise<void>;
}
