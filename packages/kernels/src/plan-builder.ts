import { KvantError } from "@kvant/core";
import type { BufferId, KvGroup, Op, Plan, PlanBuffer, PlanWeight, RopeTable, WeightId } from "./plan.ts";
import { OpChecker, validateKvGroup, validatePlan, validateRope, validateWeight } from "./validate-plan.ts";

export interface PlanHeader {
  readonly name: string;
  readonly vocabSize: number;
  readonly contextLength: number;
}

/**
 * Records ops into a plan. Every op method makes its own output buffer and returns it, so a buffer is written once; widths
 * follow from the operands. `name` labels the buffer in errors and in printed plans.
 *
 * Every method throws KvantError INVALID_ARGUMENT when operands do not fit, naming both sides.
 */
export class PlanBuilder {
  readonly #header: PlanHeader;
  readonly #buffers: PlanBuffer[] = [];
  readonly #weights: PlanWeight[] = [];
  readonly #ropes: RopeTable[] = [];
  readonly #kvGroups: KvGroup[] = [];
  readonly #ops: Op[] = [];
  readonly #inputs: BufferId[] = [];
  readonly #outputs: BufferId[] = [];
  readonly #checker: OpChecker;
  #logits: BufferId | undefined;

  constructor(header: PlanHeader) {
    this.#header = header;
    this.#checker = new OpChecker(
      {
        buffers: this.#buffers,
        weights: this.#weights,
        ropes: this.#ropes,
        kvGroups: this.#kvGroups,
        vocabSize: header.vocabSize,
      },
      [],
    );
  }

  weight(weight: Omit<PlanWeight, "id">): WeightId {
    const id = this.#weights.length as WeightId;
    const added = { id, ...weight };
    validateWeight(added, this.#header.vocabSize);
    this.#weights.push(added);
    return id;
  }

  /** Returns the index that `rope` ops name. */
  ropeTable(table: RopeTable): number {
    validateRope(table);
    return this.#ropes.push(table) - 1;
  }

  /** Returns the index that `kvWrite` and `attention` ops name. */
  kvGroup(group: KvGroup): number {
    validateKvGroup(group);
    return this.#kvGroups.push(group) - 1;
  }

  /** A buffer `[tokens, width]` that the caller writes before each step. */
  input(name: string, width: number): BufferId {
    const id = this.#buffer(name, width, "tokens");
    this.#checker.addInput(id);
    this.#inputs.push(id);
    return id;
  }

  /** Keeps a buffer readable after the step. */
  output(id: BufferId): void {
    this.#require(id);
    this.#outputs.push(id);
  }

  /** Names the buffer that rows sample from. */
  logits(id: BufferId): void {
    this.#require(id);
    this.#logits = id;
  }

  embed(name: string, table: WeightId): BufferId {
    const out = this.#buffer(name, this.#weightOf(table).cols, "tokens");
    return this.#record({ op: "embed", table, out }, out);
  }

  rmsNorm(name: string, x: BufferId, weight: WeightId, epsilon: number): BufferId {
    const out = this.#like(name, x);
    return this.#record({ op: "rmsNorm", x, weight, epsilon, out }, out);
  }

  linear(name: string, x: BufferId, weight: WeightId, bias?: WeightId): BufferId {
    const out = this.#buffer(name, this.#weightOf(weight).rows, this.#require(x).rows);
    return this.#record({ op: "linear", x, weight, bias, out }, out);
  }

  add(name: string, x: BufferId, y: BufferId): BufferId {
    const out = this.#like(name, x);
    return this.#record({ op: "add", x, y, out }, out);
  }

  rope(name: string, x: BufferId, rope: number, headDim: number): BufferId {
    const out = this.#like(name, x);
    return this.#record({ op: "rope", x, rope, headDim, out }, out);
  }

  kvWrite(k: BufferId, v: BufferId, group: number, layer: number): void {
    this.#record({ op: "kvWrite", k, v, group, layer }, undefined);
  }

  attention(
    name: string,
    q: BufferId,
    attributes: { readonly group: number; readonly layer: number; readonly heads: number; readonly scale: number },
  ): BufferId {
    const out = this.#like(name, q);
    return this.#record({ op: "attention", q, ...attributes, out }, out);
  }

  siluMul(name: string, gate: BufferId, up: BufferId): BufferId {
    const out = this.#like(name, gate);
    return this.#record({ op: "siluMul", gate, up, out }, out);
  }

  geluMul(name: string, gate: BufferId, up: BufferId): BufferId {
    const out = this.#like(name, gate);
    return this.#record({ op: "geluMul", gate, up, out }, out);
  }

  gatherRows(name: string, x: BufferId): BufferId {
    const out = this.#buffer(name, this.#require(x).width, "logits");
    return this.#record({ op: "gatherRows", x, out }, out);
  }

  tap(name: string, x: BufferId): void {
    this.#record({ op: "tap", x, name }, undefined);
  }

  build(): Plan {
    const plan: Plan = {
      ...this.#header,
      buffers: [...this.#buffers],
      weights: [...this.#weights],
      ropes: [...this.#ropes],
      kvGroups: [...this.#kvGroups],
      ops: [...this.#ops],
      inputs: [...this.#inputs],
      outputs: [...this.#outputs],
      logits: this.#logits,
    };
    validatePlan(plan);
    return plan;
  }

  #record<Out extends BufferId | undefined>(op: Op, out: Out): Out {
    this.#checker.accept(op);
    this.#ops.push(op);
    return out;
  }

  #buffer(name: string, width: number, rows: PlanBuffer["rows"]): BufferId {
    const id = this.#buffers.length as BufferId;
    this.#buffers.push({ id, name, width, rows });
    return id;
  }

  #like(name: string, model: BufferId): BufferId {
    const { width, rows } = this.#require(model);
    return this.#buffer(name, width, rows);
  }

  #require(id: BufferId): PlanBuffer {
    const buffer = this.#buffers[id];
    if (buffer === undefined) throw new KvantError("INVALID_ARGUMENT", `the plan has no buffer ${id}`);
    return buffer;
  }

  #weightOf(id: WeightId): PlanWeight {
    const weight = this.#weights[id];
    if (weight === undefined) throw new KvantError("INVALID_ARGUMENT", `the plan has no weight ${id}`);
    return weight;
  }
}
