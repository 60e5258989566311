import { KvantError } from "@kvant/core";
import { pageLayout } from "@kvant/formats";
import { buffersRead, bufferWritten, weightsRead } from "./op-operands.ts";
import type { BufferId, KvGroup, Op, Plan, PlanBuffer, PlanWeight, RopeTable, WeightId } from "./plan.ts";

/** The tables that the ops of a plan index. */
export type PlanTables = Pick<Plan, "buffers" | "weights" | "ropes" | "kvGroups" | "vocabSize">;

/**
 * Checks ops one after the other against the tables of a plan, which may still grow: every operand exists, widths agree,
 * every buffer is written once and before it is read, every layer of a KV group is written before it is attended to.
 */
export class OpChecker {
  readonly #tables: PlanTables;
  readonly #written = new Set<BufferId>();
  readonly #writtenLayers = new Set<string>();

  constructor(tables: PlanTables, inputs: readonly BufferId[]) {
    this.#tables = tables;
    for (const input of inputs) this.addInput(input);
  }

  /** A buffer that the caller writes. */
  addInput(id: BufferId): void {
    if (this.#buffer(id, "input").rows !== "tokens") {
      throw invalid(`input "${this.#buffer(id, "input").name}" has one row per logit; only token rows can be written`);
    }
    this.#written.add(id);
  }

  isWritten(id: BufferId): boolean {
    return this.#written.has(id);
  }

  /** @throws KvantError INVALID_ARGUMENT naming the op and what is wrong with it */
  accept(op: Op): void {
    for (const id of buffersRead(op)) {
      const { name } = this.#buffer(id, op.op);
      if (!this.#written.has(id)) throw invalid(`${op.op} reads buffer "${name}" before any op has written it`);
    }
    for (const id of weightsRead(op)) {
      if (this.#tables.weights[id] === undefined) throw invalid(`${op.op} names weight ${id}, which the plan lacks`);
    }
    const out = bufferWritten(op);
    if (out !== undefined) {
      const { name } = this.#buffer(out, op.op);
      if (this.#written.has(out)) throw invalid(`${op.op} writes buffer "${name}", which is already written`);
    }
    this.#checkShapes(op);
    if (out !== undefined) this.#written.add(out);
  }

  #checkShapes(op: Op): void {
    switch (op.op) {
      case "embed": {
        const table = this.#weight(op.table, op.op, "embedding");
        this.#expectWidth(op.op, op.out, table.cols);
        this.#expectRows(op.op, op.out, "tokens");
        return;
      }
      case "rmsNorm": {
        const { cols, name } = this.#weight(op.weight, op.op, "norm");
        const { width } = this.#buffer(op.x, op.op);
        if (width % cols !== 0) throw invalid(`rmsNorm: width ${width} is not a multiple of the ${cols} of "${name}"`);
        if (!(op.epsilon >= 0)) throw invalid(`rmsNorm "${name}": epsilon ${op.epsilon} is not a number from 0 up`);
        this.#expectLike(op.op, op.out, op.x);
        return;
      }
      case "linear": {
        const weight = this.#weight(op.weight, op.op, "linear", "head");
        this.#expectWidth(op.op, op.x, weight.cols);
        this.#expectWidth(op.op, op.out, weight.rows);
        this.#expectRows(op.op, op.out, this.#buffer(op.x, op.op).rows);
        if (op.bias === undefined) return;
        const bias = this.#weight(op.bias, op.op, "bias");
        if (bias.cols !== weight.rows) {
          throw invalid(
            `linear "${weight.name}" has ${weight.rows} outputs, but bias "${bias.name}" has ${bias.cols} values`,
          );
        }
        return;
      }
      case "add":
        this.#expectLike(op.op, op.y, op.x);
        this.#expectLike(op.op, op.out, op.x);
        return;
      case "rope": {
        const rope = this.#tables.ropes[op.rope];
        if (rope === undefined) throw invalid(`rope names table ${op.rope}, which the plan lacks`);
        const { width, name } = this.#buffer(op.x, op.op);
        if (rope.inverseFrequencies.length * 2 !== op.headDim) {
          throw invalid(
            `rope: ${rope.inverseFrequencies.length} frequencies do not turn heads of ${op.headDim} values`,
          );
        }
        if (width % op.headDim !== 0)
          throw invalid(`rope: "${name}" of width ${width} is no run of heads of ${op.headDim}`);
        this.#expectRows(op.op, op.x, "tokens");
        this.#expectLike(op.op, op.out, op.x);
        return;
      }
      case "kvWrite": {
        const group = this.#layer(op.op, op.group, op.layer);
        for (const id of [op.k, op.v]) {
          this.#expectWidth(op.op, id, group.kvHeads * group.headDim);
          this.#expectRows(op.op, id, "tokens");
        }
        const key = `${op.group}/${op.layer}`;
        if (this.#writtenLayers.has(key))
          throw invalid(`kvWrite: layer ${op.layer} of KV group ${op.group} is written twice`);
        this.#writtenLayers.add(key);
        return;
      }
      case "attention": {
        const group = this.#layer(op.op, op.group, op.layer);
        if (!this.#writtenLayers.has(`${op.group}/${op.layer}`)) {
          throw invalid(`attention reads layer ${op.layer} of KV group ${op.group} before kvWrite has written it`);
        }
        if (op.heads < 1 || op.heads % group.kvHeads !== 0) {
          throw invalid(`attention: ${op.heads} heads are no multiple of ${group.kvHeads} KV heads`);
        }
        if (!Number.isFinite(op.scale)) throw invalid(`attention: scale ${op.scale} is not finite`);
        this.#expectWidth(op.op, op.q, op.heads * group.headDim);
        this.#expectRows(op.op, op.q, "tokens");
        this.#expectLike(op.op, op.out, op.q);
        return;
      }
      case "siluMul":
      case "geluMul":
        this.#expectLike(op.op, op.up, op.gate);
        this.#expectLike(op.op, op.out, op.gate);
        return;
      case "gatherRows":
        this.#expectRows(op.op, op.x, "tokens");
        this.#expectRows(op.op, op.out, "logits");
        this.#expectWidth(op.op, op.out, this.#buffer(op.x, op.op).width);
        return;
      case "tap":
        if (op.name === "") throw invalid("tap: the name is empty");
        return;
      default:
        op satisfies never;
    }
  }

  #buffer(id: BufferId, reader: string): PlanBuffer {
    const buffer = this.#tables.buffers[id];
    if (buffer === undefined) throw invalid(`${reader} names buffer ${id}, which the plan lacks`);
    return buffer;
  }

  #weight(id: WeightId, op: string, ...classes: readonly PlanWeight["class"][]): PlanWeight {
    const weight = this.#tables.weights[id]!;
    if (classes.includes(weight.class)) return weight;
    throw invalid(`${op} takes a weight of class ${classes.join(" or ")}; "${weight.name}" has class ${weight.class}`);
  }

  #layer(op: string, index: number, layer: number): KvGroup {
    const group = this.#tables.kvGroups[index];
    if (group === undefined) throw invalid(`${op} names KV group ${index}, which the plan lacks`);
    if (Number.isInteger(layer) && layer >= 0 && layer < group.layerCount) return group;
    throw invalid(`${op}: KV group ${index} has layers 0 to ${group.layerCount - 1}, not ${layer}`);
  }

  #expectWidth(op: string, id: BufferId, width: number): void {
    const buffer = this.#buffer(id, op);
    if (buffer.width === width) return;
    throw invalid(`${op}: buffer "${buffer.name}" is ${buffer.width} wide where ${width} is needed`);
  }

  #expectRows(op: string, id: BufferId, rows: PlanBuffer["rows"]): void {
    const buffer = this.#buffer(id, op);
    if (buffer.rows === rows) return;
    throw invalid(`${op}: buffer "${buffer.name}" has a row per ${buffer.rows}, where one per ${rows} is needed`);
  }

  #expectLike(op: string, id: BufferId, model: BufferId): void {
    const { width, rows } = this.#buffer(model, op);
    this.#expectWidth(op, id, width);
    this.#expectRows(op, id, rows);
  }
}

/**
 * Checks a whole plan: its tables, then its ops in order.
 * @throws KvantError INVALID_ARGUMENT naming the part at fault
 */
export function validatePlan(plan: Plan): void {
  requirePositive("vocabSize", plan.vocabSize);
  requirePositive("contextLength", plan.contextLength);
  plan.buffers.forEach((buffer, index) => {
    if (buffer.id !== index) throw invalid(`buffer "${buffer.name}" has id ${buffer.id} at index ${index}`);
    requirePositive(`width of buffer "${buffer.name}"`, buffer.width);
  });
  plan.weights.forEach((weight, index) => {
    if (weight.id !== index) throw invalid(`weight "${weight.name}" has id ${weight.id} at index ${index}`);
    validateWeight(weight, plan.vocabSize);
  });
  plan.ropes.forEach(validateRope);
  plan.kvGroups.forEach(validateKvGroup);
  const checker = new OpChecker(plan, plan.inputs);
  for (const op of plan.ops) checker.accept(op);
  for (const id of [...plan.outputs, ...(plan.logits === undefined ? [] : [plan.logits])]) {
    if (!checker.isWritten(id)) throw invalid(`output buffer ${id} is never written`);
  }
  if (plan.logits !== undefined) {
    const { rows, width, name } = plan.buffers[plan.logits]!;
    if (rows !== "logits" || width !== plan.vocabSize) {
      throw invalid(`logits "${name}" are [${rows}, ${width}], not [logits, ${plan.vocabSize}]`);
    }
  }
}

/** @throws KvantError INVALID_ARGUMENT */
export function validateWeight(weight: PlanWeight, vocabSize: number): void {
  const { name, rows, cols, format, activation } = weight;
  requirePositive(`rows of weight "${name}"`, rows);
  requirePositive(`cols of weight "${name}"`, cols);
  const isMatrix = weight.class === "linear" || weight.class === "head";
  if (isMatrix !== (activation !== undefined)) {
    throw invalid(`weight "${name}" of class ${weight.class} ${isMatrix ? "needs" : "has no"} activation format`);
  }
  if (activation !== undefined && "scale" in activation && activation.scale !== "token" && !(activation.scale > 0)) {
    throw invalid(`weight "${name}": a static activation scale is a positive number, not ${activation.scale}`);
  }
  if (weight.class === "norm" || weight.class === "bias") {
    if (rows !== 1) throw invalid(`weight "${name}" of class ${weight.class} has one row, not ${rows}`);
    if (format.format !== "fp32")
      throw invalid(`weight "${name}" of class ${weight.class} is held in fp32, not ${format.format}`);
  }
  if (weight.class === "embedding" && format.granularity !== undefined) {
    throw invalid(`embedding "${name}" is held in fp32, bf16 or fp16, not ${format.format}`);
  }
  if ((weight.class === "embedding" || weight.class === "head") && rows !== vocabSize) {
    throw invalid(`weight "${name}" has ${rows} rows for a vocabulary of ${vocabSize}`);
  }
}

/** @throws KvantError INVALID_ARGUMENT */
export function validateRope({ inverseFrequencies, magnitude }: RopeTable): void {
  const frequency = inverseFrequencies.find((value) => !(value >= 0 && value < Infinity));
  if (frequency !== undefined) throw invalid(`rope: inverse frequency ${frequency} is not a number from 0 up`);
  if (!(magnitude > 0)) throw invalid(`rope: magnitude ${magnitude} is not positive`);
}

/** @throws KvantError INVALID_ARGUMENT */
export function validateKvGroup(group: KvGroup): void {
  const { layerCount, kvHeads, headDim, window, format, scales } = group;
  pageLayout({ layerCount, kvHeads, headDim, pageTokens: 16, format, scales: scales.kind });
  if (headDim % 2 !== 0) throw invalid(`KV group: head dim ${headDim} is odd`);
  if (window !== undefined) requirePositive("window of a KV group", window);
  if (scales.kind !== "head" && scales.kind !== "tensor") return;
  const count = scales.kind === "head" ? layerCount * kvHeads : layerCount;
  for (const [name, values] of [["K", scales.k] as const, ["V", scales.v] as const]) {
    if (values.length !== count)
      throw invalid(`KV group: ${count} static ${name} scales are needed, ${values.length} given`);
    const wrong = values.find((scale) => !(scale > 0 && scale < Infinity));
    if (wrong !== undefined) throw invalid(`KV group: static ${name} scale ${wrong} in ${format} is not positive`);
  }
}

function requirePositive(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) throw invalid(`${name} is a positive integer, not ${value}`);
}

function invalid(message: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", message);
}
