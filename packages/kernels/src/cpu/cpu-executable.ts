import { KvantError } from "@kvant/core";
import { type QuantizedTensor, weightFormatName } from "@kvant/formats";
import type { CompileOptions, Executable, MemoryReport, WeightSource } from "../backend.ts";
import type { DeviceCalibration } from "../cuda/device-calibration.ts";
import type { BufferId, Plan, PlanWeight, WeightId } from "../plan.ts";
import type { StepInputs, StepOutputs } from "../step.ts";
import { StepChecker } from "../step-checker.ts";
import { validatePlan } from "../validate-plan.ts";
import { heldCodes } from "../weight-codes.ts";
import { checkWeightBytes, requireLoadsByRows, sourceRows, weightValues } from "../weight-values.ts";
import { type LoweredPlan, lowerPlan, type WeightPlace } from "./lowering/lower-plan.ts";
import { requireQuantizing } from "./lowering/native-weight.ts";
import type { NativeAddon, NativeExecutable, NativeOptions } from "./native-addon.ts";
import { callNative, nativeError } from "./native-error.ts";
import { nativeStep, stepOutputs } from "./native-step.ts";

/** Where the addon runs a plan. */
export type NativeTarget = Pick<NativeOptions, "device" | "threads" | "tier" | "deterministic">;

/** A plan on a native backend, CPU or CUDA. Steps run on the addon's own thread; nothing here blocks but loading and `warmUp`. */
export class CpuExecutable implements Executable {
  readonly plan: Plan;
  readonly variants: readonly string[];
  readonly #options: CompileOptions;
  readonly #lowered: LoweredPlan;
  readonly #native: NativeExecutable;
  readonly #checker: StepChecker;
  readonly #missingRows: Map<WeightId, number>;
  readonly #vectorParts = new Map<number, { readonly values: Float32Array; filled: number }>(); // by native weight index
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  constructor(addon: NativeAddon, plan: Plan, options: CompileOptions, target: NativeTarget) {
    validatePlan(plan);
    this.plan = plan;
    this.#options = options;
    this.#checker = new StepChecker(plan, options);
    this.#lowered = lowerPlan(plan, { ...options, backend: target.device === "cpu" ? "cpu" : "cuda" });
    const read = plan.weights.filter(({ id }) => this.#lowered.weightOf.has(id));
    this.#missingRows = new Map(read.map(({ id, rows }) => [id, rows]));
    const { maxRows, maxTokens, maxLogitRows } = options;
    this.#native = callNative(() =>
      addon.createExecutable(this.#lowered.native, { maxRows, maxTokens, maxLogitRows, ...target }),
    );
    this.variants = callNative(() => this.#native.variants());
  }

  loadWeight(id: WeightId, source: WeightSource): void {
    this.#requireIdle("loadWeight");
    checkWeightBytes(this.#weight(id), source);
    this.#loadRows(id, 0, source);
  }

  loadWeightRows(id: WeightId, firstRow: number, source: WeightSource): void {
    this.#requireIdle("loadWeightRows");
    requireLoadsByRows(this.#weight(id));
    this.#loadRows(id, firstRow, source);
  }

  loadQuantized(id: WeightId, firstRow: number, tensor: QuantizedTensor): void {
    this.#requireIdle("loadQuantized");
    const held = heldCodes(this.#weight(id), firstRow, tensor);
    this.#arrive(id, tensor.rows, ({ index, rowOffset }) =>
      callNative(() => this.#native.loadCodes(index, rowOffset + firstRow, tensor.rows, held)),
    );
  }

  warmUp(): void {
    this.#requireIdle("warmUp");
    this.#requireWeights();
    callNative(() => this.#native.warmUp());
  }

  submit(inputs: StepInputs): Promise<StepOutputs> {
    this.#requireOpen();
    this.#requireWeights();
    this.#checker.accept(inputs);
    const running = new Promise<StepOutputs>((resolve, reject) => {
      this.#native.submit(nativeStep(inputs), (error, result) => {
        if (result === undefined) reject(new Error(error ?? "the step gave no result"));
        else resolve(stepOutputs(result));
      });
    })
      .catch((error: unknown) => {
        throw nativeError(error);
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
    return running;
  }

  writeBuffer(id: BufferId, values: Float32Array): void {
    this.#requireIdle("writeBuffer");
    if (!this.plan.inputs.includes(id))
      throw new KvantError("INVALID_ARGUMENT", `buffer ${id} is no input of the plan`);
    this.#checkRows(id, values.length / this.plan.buffers[id]!.width);
    callNative(() => this.#native.writeBuffer(this.#lowered.bufferOf.get(id)!, values));
  }

  readBuffer(id: BufferId, rows: number, into?: Float32Array): Float32Array {
    this.#requireIdle("readBuffer");
    const index = this.#lowered.bufferOf.get(id);
    if (index === undefined) {
      throw new KvantError("INVALID_ARGUMENT", `buffer ${id} is no output, tap or logits buffer of the plan`);
    }
    this.#checkRows(id, rows);
    const values = into ?? new Float32Array(rows * this.plan.buffers[id]!.width);
    callNative(() => this.#native.readBuffer(index, rows, values));
    return values;
  }

  gather(id: BufferId, rows: number, into: DeviceCalibration): void {
    this.#requireIdle("gather");
    const index = this.#lowered.bufferOf.get(id);
    if (index === undefined) {
      throw new KvantError("INVALID_ARGUMENT", `buffer ${id} is no output, tap or logits buffer of the plan`);
    }
    this.#checkRows(id, rows);
    callNative(() => this.#native.gather(index, rows, into.native));
    into.counted(rows);
  }

  readPage(group: number, page: number): Uint8Array {
    this.#requireIdle("readPage");
    const pageCount = this.#options.pageCounts[group];
    if (pageCount === undefined || !(Number.isInteger(page) && page >= 0 && page < pageCount)) {
      throw new KvantError("INVALID_ARGUMENT", `there is no page ${page} in KV group ${group}`);
    }
    return callNative(() => this.#native.readPage(group, page));
  }

  memory(): MemoryReport {
    this.#requireOpen();
    const { weights, activations } = callNative(() => this.#native.memory());
    const weightBytes: Record<string, number> = {};
    const counted = new Set<number>();
    for (const [id, { index }] of this.#lowered.weightOf) {
      if (counted.has(index)) continue;
      counted.add(index);
      const name = weightFormatName(this.plan.weights[id]!.format);
      weightBytes[name] = (weightBytes[name] ?? 0) + (weights[index] ?? 0);
    }
    let [kvBytes, kvScaleBytes] = [0, 0];
    this.#lowered.native.kvGroups.forEach((group, index) => {
      kvBytes += group.pageCount * group.pageBytes;
      if (this.plan.kvGroups[index]!.scales.kind !== "token-head") return;
      kvScaleBytes += group.pageCount * group.layerCount * 2 * group.kvHeads * group.pageTokens * 4;
    });
    return { weightBytes, kvCodeBytes: kvBytes - kvScaleBytes, kvScaleBytes, activationBytes: activations };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#running);
    callNative(() => this.#native.close());
  }

  #weight(id: WeightId): PlanWeight {
    const weight = this.plan.weights[id];
    if (weight !== undefined) return weight;
    throw new KvantError("INVALID_ARGUMENT", `plan "${this.plan.name}" has no weight ${id}`);
  }

  #loadRows(id: WeightId, firstRow: number, source: WeightSource): void {
    const weight = this.#weight(id);
    requireQuantizing(weight);
    const rows = sourceRows(weight, firstRow, source);
    this.#arrive(id, rows, (place) => {
      const { index, rowOffset } = place;
      const native = this.#lowered.native.weights[index]!;
      if (native.kind === "vector" && native.cols !== weight.cols) this.#loadVectorPart(weight, source, place);
      else callNative(() => this.#native.loadWeight(index, rowOffset + firstRow, rows, source.dtype, source.data));
    });
  }

  /** Loads rows of a weight and counts them. */
  #arrive(id: WeightId, rows: number, load: (place: WeightPlace) => void): void {
    const place = this.#lowered.weightOf.get(id);
    if (place === undefined) return; // no op reads it
    const missing = this.#missingRows.get(id);
    if (missing === undefined) {
      throw new KvantError("INVALID_ARGUMENT", `weight "${this.#weight(id).name}" is already loaded`);
    }
    load(place);
    if (rows === missing) this.#missingRows.delete(id);
    else this.#missingRows.set(id, missing - rows);
  }

  /** The addon takes a vector whole, so the parts of a fused one are gathered first. */
  #loadVectorPart(weight: PlanWeight, source: WeightSource, { index, valueOffset }: WeightPlace): void {
    const { cols } = this.#lowered.native.weights[index]!;
    const gathered = this.#vectorParts.get(index) ?? { values: new Float32Array(cols), filled: 0 };
    gathered.values.set(weightValues(weight, source), valueOffset);
    gathered.filled += weight.cols;
    this.#vectorParts.set(index, gathered);
    if (gathered.filled < cols) return;
    callNative(() => this.#native.loadWeight(index, 0, 1, "fp32", new Uint8Array(gathered.values.buffer)));
    this.#vectorParts.delete(index);
  }

  #checkRows(id: BufferId, rows: number): void {
    const { rows: kind, width, name } = this.plan.buffers[id]!;
    const most = kind === "tokens" ? this.#options.maxTokens : this.#options.maxLogitRows;
    if (Number.isInteger(rows) && rows >= 0 && rows <= most) return;
    throw new KvantError("INVALID_ARGUMENT", `buffer "${name}" has ${most} rows of ${width}, not ${rows}`);
  }

  #requireOpen(): void {
    if (this.#closed) throw new KvantError("INVALID_ARGUMENT", `executable of plan "${this.plan.name}" is closed`);
  }

  #requireWeights(): void {
    for (const id of this.#missingRows.keys()) {
      throw new KvantError("INVALID_ARGUMENT", `weight "${this.plan.weights[id]!.name}" was never loaded in full`);
    }
  }

  #requireIdle(call: string): void {
    this.#requireOpen();
    if (this.#running.size > 0) throw new KvantError("INVALID_ARGUMENT", `${call} is only possible between steps`);
  }
}
