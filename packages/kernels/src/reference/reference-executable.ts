import { setImmediate as nextTurn } from "node:timers/promises";
import { KvantError } from "@kvant/core";
import { type QuantizedTensor, weightBytes, weightFormatName } from "@kvant/formats";
import type { CompileOptions, Executable, MemoryReport, WeightSource } from "../backend.ts";
import { pinnedBuffers } from "../op-operands.ts";
import type { BufferId, Op, Plan, PlanWeight, WeightId } from "../plan.ts";
import { FROM_PREVIOUS_STEP, type StepInputs, type StepOutputs, swapDirections } from "../step.ts";
import { StepChecker } from "../step-checker.ts";
import { validatePlan } from "../validate-plan.ts";
import { heldCodes } from "../weight-codes.ts";
import { add } from "./add.ts";
import { attention } from "./attention.ts";
import { embed } from "./embed.ts";
import { gatherRows } from "./gather-rows.ts";
import { geluMul } from "./gelu-mul.ts";
import { kvWrite } from "./kv-write.ts";
import { linear } from "./linear.ts";
import { PageMemory } from "./page-memory.ts";
import { PageTables } from "./page-tables.ts";
import { prepareActivations } from "./prepare-activations.ts";
import { type ReferenceMatrix, referenceMatrix, referenceWeight, requireSupported } from "./reference-weight.ts";
import { rmsNorm } from "./rms-norm.ts";
import { rope } from "./rope.ts";
import { RowParts } from "./row-parts.ts";
import { RowSampler } from "./row-sampler.ts";
import { siluMul } from "./silu-mul.ts";
import { type StepTokens, stepTokens } from "./step-tokens.ts";

export class ReferenceExecutable implements Executable {
  readonly plan: Plan;
  readonly variants: readonly string[];
  readonly #options: CompileOptions;
  readonly #checker: StepChecker;
  readonly #readable: ReadonlySet<BufferId>;
  readonly #buffers: readonly Float32Array[]; // [buffers][maxTokens or maxLogitRows, width]
  readonly #weights: (ReferenceMatrix | undefined)[];
  readonly #parts = new Map<WeightId, RowParts>(); // of weights that have arrived in part
  readonly #memory: readonly PageMemory[]; // [kvGroups]
  readonly #tables: readonly PageTables[]; // [kvGroups]
  readonly #sampler: RowSampler;
  #tail: Promise<unknown> = Promise.resolve();
  #inFlight = 0;
  #closed = false;

  constructor(plan: Plan, options: CompileOptions) {
    validatePlan(plan);
    plan.weights.forEach(requireSupported);
    this.plan = plan;
    this.#options = options;
    this.#checker = new StepChecker(plan, options);
    this.#readable = pinnedBuffers(plan);
    this.#buffers = plan.buffers.map(
      ({ rows, width }) => new Float32Array((rows === "tokens" ? options.maxTokens : options.maxLogitRows) * width),
    );
    this.#weights = plan.weights.map(() => undefined);
    this.#memory = plan.kvGroups.map(
      (group, i) => new PageMemory(group, options.pageTokens, options.pageCounts[i]!, options.hostPageCounts?.[i]),
    );
    this.#tables = plan.kvGroups.map(() => new PageTables(options.maxRows, plan.contextLength, options.pageTokens));
    this.#sampler = new RowSampler(options.maxRows);
    this.variants = plan.ops.map((op) => variantName(op, plan));
  }

  loadWeight(id: WeightId, source: WeightSource): void {
    this.#requireIdle("loadWeight");
    const weight = this.#missingWeight(id);
    this.#addRows(weight, 0, referenceWeight(weight, source));
  }

  loadQuantized(id: WeightId, firstRow: number, tensor: QuantizedTensor): void {
    this.#requireIdle("loadQuantized");
    const weight = this.#missingWeight(id);
    heldCodes(weight, firstRow, tensor); // refuses what no backend can hold
    this.#addRows(weight, firstRow, referenceMatrix(weight, tensor));
  }

  submit(inputs: StepInputs): Promise<StepOutputs> {
    this.#requireOpen();
    const missing = this.plan.weights.find(({ id }) => this.#weights[id] === undefined);
    if (missing !== undefined) throw new KvantError("INVALID_ARGUMENT", `weight "${missing.name}" was never loaded`);
    this.#checker.accept(inputs);
    const copy = copyInputs(inputs);
    this.#inFlight += 1;
    const running = this.#tail.then(async () => {
      try {
        // A step takes a turn of the event loop: a caller that only awaits steps must not starve timers and sockets.
        await nextTurn();
        return this.#run(copy);
      } finally {
        this.#inFlight -= 1;
      }
    });
    this.#tail = running.catch(() => undefined);
    return running;
  }

  writeBuffer(id: BufferId, values: Float32Array): void {
    this.#requireIdle("writeBuffer");
    if (!this.plan.inputs.includes(id))
      throw new KvantError("INVALID_ARGUMENT", `buffer ${id} is no input of the plan`);
    this.#rowsOf(id, values.length / this.plan.buffers[id]!.width).set(values);
  }

  readBuffer(id: BufferId, rows: number, into?: Float32Array): Float32Array {
    this.#requireIdle("readBuffer");
    if (!this.#readable.has(id)) {
      throw new KvantError("INVALID_ARGUMENT", `buffer ${id} is no output, tap or logits buffer of the plan`);
    }
    const values = this.#rowsOf(id, rows);
    if (into === undefined) return values.slice();
    if (into.length !== values.length) {
      throw new KvantError("INVALID_ARGUMENT", `${values.length} values do not fill an array of ${into.length}`);
    }
    into.set(values);
    return into;
  }

  readPage(group: number, page: number): Uint8Array {
    this.#requireIdle("readPage");
    const memory = this.#memory[group];
    const pageCount = this.#options.pageCounts[group];
    if (memory === undefined || pageCount === undefined || !(page >= 0 && page < pageCount)) {
      throw new KvantError("INVALID_ARGUMENT", `there is no page ${page} in KV group ${group}`);
    }
    return memory.page(page);
  }

  memory(): MemoryReport {
    const byFormat: Record<string, number> = {};
    for (const { format, rows, cols } of this.plan.weights) {
      const { codes, scales } = weightBytes(format, rows, cols);
      const name = weightFormatName(format);
      byFormat[name] = (byFormat[name] ?? 0) + codes + scales;
    }
    const kvScaleBytes = this.#memory.reduce((sum, { layout, group }, index) => {
      return sum + this.#options.pageCounts[index]! * group.layerCount * 2 * layout.scaleBytes;
    }, 0);
    return {
      weightBytes: byFormat,
      kvCodeBytes: this.#memory.reduce((sum, { byteLength }) => sum + byteLength, 0) - kvScaleBytes,
      kvScaleBytes,
      activationBytes: this.#buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0),
    };
  }

  async close(): Promise<void> {
    await this.#tail;
    this.#closed = true;
    this.#weights.fill(undefined);
    this.#parts.clear();
  }

  #missingWeight(id: WeightId): PlanWeight {
    const weight = this.plan.weights[id];
    if (weight === undefined) throw new KvantError("INVALID_ARGUMENT", `plan "${this.plan.name}" has no weight ${id}`);
    if (this.#weights[id] === undefined) return weight;
    throw new KvantError("INVALID_ARGUMENT", `weight "${weight.name}" is already loaded`);
  }

  #addRows(weight: PlanWeight, firstRow: number, part: ReferenceMatrix): void {
    const { id, rows } = weight;
    const parts = this.#parts.get(id) ?? (part.rows < rows ? new RowParts(weight, part) : undefined);
    const whole = parts === undefined ? part : parts.add(firstRow, part);
    this.#weights[id] = whole;
    if (parts !== undefined && whole === undefined) this.#parts.set(id, parts);
    else this.#parts.delete(id);
  }

  #run(inputs: StepInputs): StepOutputs {
    const start = performance.now();
    this.#sampler.update(inputs.rowUpdates);
    this.#movePages(inputs);
    const tokens = stepTokens(inputs);
    this.#resolvePrevious(tokens);
    let saturations = 0;
    for (const op of this.plan.ops) saturations += this.#runOp(op, tokens);
    const logits =
      this.plan.logits === undefined ? new Float32Array() : this.#rowsOf(this.plan.logits, tokens.logitTokens.length);
    const answers = this.#sampler.answer(inputs, logits, this.plan.vocabSize);
    return { ...answers, seconds: (performance.now() - start) / 1000, saturations };
  }

  #movePages({ rowUpdates, pageAppends, pageSwaps, pageCopies }: StepInputs): void {
    for (const { slot } of rowUpdates) for (const table of this.#tables) table.clear(slot);
    for (let i = 0; i < pageAppends.length; i += 4) {
      this.#tables[pageAppends[i + 1]!]!.set(pageAppends[i]!, pageAppends[i + 2]!, pageAppends[i + 3]!);
    }
    for (let i = 0; i < pageSwaps.length; i += 4) {
      const memory = this.#memory[pageSwaps[i]!]!;
      if (pageSwaps[i + 3] === swapDirections.out) memory.swapOut(pageSwaps[i + 1]!, pageSwaps[i + 2]!);
      else memory.swapIn(pageSwaps[i + 1]!, pageSwaps[i + 2]!);
    }
    for (let i = 0; i < pageCopies.length; i += 3) {
      this.#memory[pageCopies[i]!]!.copyPage(pageCopies[i + 1]!, pageCopies[i + 2]!);
    }
  }

  #resolvePrevious({ ids, slots }: StepTokens): void {
    for (let token = 0; token < ids.length; token++) {
      if (ids[token] === FROM_PREVIOUS_STEP) ids[token] = this.#sampler.lastSampled(slots[token]!);
    }
  }

  /** Returns the number of values clipped by static KV scales. */
  #runOp(op: Op, tokens: StepTokens): number {
    const buffer = (id: BufferId) => {
      const { rows } = this.plan.buffers[id]!;
      return this.#rowsOf(id, rows === "tokens" ? tokens.ids.length : tokens.logitTokens.length);
    };
    const vector = (id: WeightId) => this.#weights[id]!.values;
    switch (op.op) {
      case "embed":
        embed(tokens.ids, vector(op.table), this.plan.weights[op.table]!.cols, buffer(op.out));
        return 0;
      case "rmsNorm":
        rmsNorm(buffer(op.x), vector(op.weight), op.epsilon, buffer(op.out));
        return 0;
      case "linear": {
        const { cols, activation } = this.plan.weights[op.weight]!;
        const x = buffer(op.x);
        const prepared = prepareActivations(x, x.length / cols, cols, activation!);
        linear(
          prepared,
          this.#weights[op.weight]!,
          op.bias === undefined ? undefined : vector(op.bias),
          buffer(op.out),
        );
        return 0;
      }
      case "add":
        add(buffer(op.x), buffer(op.y), buffer(op.out));
        return 0;
      case "rope":
        rope(buffer(op.x), tokens.positions, this.plan.ropes[op.rope]!, buffer(op.out));
        return 0;
      case "kvWrite":
        return kvWrite(buffer(op.k), buffer(op.v), tokens, this.#memory[op.group]!, this.#tables[op.group]!, op.layer);
      case "attention":
        attention(buffer(op.q), op, tokens, this.#memory[op.group]!, this.#tables[op.group]!, buffer(op.out));
        return 0;
      case "siluMul":
        siluMul(buffer(op.gate), buffer(op.up), buffer(op.out));
        return 0;
      case "geluMul":
        geluMul(buffer(op.gate), buffer(op.up), buffer(op.out));
        return 0;
      case "gatherRows":
        gatherRows(buffer(op.x), tokens.logitTokens, this.plan.buffers[op.x]!.width, buffer(op.out));
        return 0;
      case "tap":
        return 0;
      default:
        return op satisfies never;
    }
  }

  #rowsOf(id: BufferId, rows: number): Float32Array {
    const { width, name } = this.plan.buffers[id]!;
    const buffer = this.#buffers[id]!;
    if (Number.isInteger(rows) && rows >= 0 && rows * width <= buffer.length) return buffer.subarray(0, rows * width);
    throw new KvantError(
      "INVALID_ARGUMENT",
      `buffer "${name}" has ${buffer.length / width} rows of ${width}, not ${rows}`,
    );
  }

  #requireOpen(): void {
    if (this.#closed) throw new KvantError("INVALID_ARGUMENT", `executable of plan "${this.plan.name}" is closed`);
  }

  #requireIdle(call: string): void {
    this.#requireOpen();
    if (this.#inFlight > 0) throw new KvantError("INVALID_ARGUMENT", `${call} is only possible between steps`);
  }
}

function copyInputs(inputs: StepInputs): StepInputs {
  return {
    rowSlots: inputs.rowSlots.slice(),
    rowStarts: inputs.rowStarts.slice(),
    rowPositions: inputs.rowPositions.slice(),
    rowWants: inputs.rowWants.slice(),
    tokenIds: inputs.tokenIds.slice(),
    targets: inputs.targets.slice(),
    pageAppends: inputs.pageAppends.slice(),
    pageSwaps: inputs.pageSwaps.slice(),
    pageCopies: inputs.pageCopies.slice(),
    rowUpdates: inputs.rowUpdates.map((update) => ({
      ...update,
      promptIds: update.promptIds.slice(),
      outputIds: update.outputIds.slice(),
    })),
  };
}

/** `<op>_<weights>_<activations>_<target>` */
function variantName(op: Op, plan: Plan): string {
  if (op.op !== "linear") return `${op.op}_reference`;
  const { format, activation } = plan.weights[op.weight]!;
  return `linear_${weightFormatName(format)}_${activation!.format}_reference`;
}
