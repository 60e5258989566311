import { buffersRead, bufferWritten, pinnedBuffers, weightsRead } from "../../op-operands.ts";
import type { BufferId, Op, Plan, PlanWeight, WeightId } from "../../plan.ts";
import type { NativeOp, NativeWeight } from "../native-addon.ts";
import { canShareMatrix, type NativeBackend, nativeWeight } from "./native-weight.ts";

/** A buffer of the lowered plan: one of the plan's, or one that a fused op brought in. */
export interface LoweredBuffer {
  readonly name: string;
  readonly width: number;
  readonly rows: "tokens" | "logits";
}

/** A weight of the lowered plan and the plan's weights that it holds, one below the other. */
export interface LoweredWeight {
  readonly native: NativeWeight;
  readonly parts: readonly WeightId[];
}

/** A plan op at its place in the order. */
export interface Placed<O extends Op = Op> {
  readonly op: O;
  readonly index: number;
}

/**
 * A plan while patterns rewrite it. A pattern looks ops up by what they read and write, claims those it replaces, and emits
 * native ops at the place of one of them. Native ops name buffers and weights of the graph by index.
 */
export class FusionGraph {
  readonly plan: Plan;
  readonly backend: NativeBackend;
  readonly buffers: LoweredBuffer[];
  readonly weights: LoweredWeight[] = [];
  readonly #pinned: ReadonlySet<BufferId>;
  readonly #writers = new Map<BufferId, number>();
  readonly #readers = new Map<BufferId, number[]>();
  readonly #weightReaders = new Map<WeightId, number>();
  readonly #claimed = new Set<number>();
  readonly #emitted = new Map<number, NativeOp[]>();
  readonly #aliases = new Map<BufferId, BufferId>();
  readonly #plainWeights = new Map<WeightId, number>();

  constructor(plan: Plan, backend: NativeBackend) {
    this.plan = plan;
    this.backend = backend;
    this.buffers = plan.buffers.map(({ name, width, rows }) => ({ name, width, rows }));
    this.#pinned = pinnedBuffers(plan);
    plan.ops.forEach((op, index) => {
      const written = bufferWritten(op);
      if (written !== undefined) this.#writers.set(written, index);
      for (const id of buffersRead(op)) this.#readers.set(id, [...(this.#readers.get(id) ?? []), index]);
      for (const id of weightsRead(op)) this.#weightReaders.set(id, (this.#weightReaders.get(id) ?? 0) + 1);
    });
  }

  /** Unclaimed ops of one kind, in order. */
  opsOf<Name extends Op["op"]>(name: Name): Placed<Extract<Op, { op: Name }>>[] {
    const found: Placed<Extract<Op, { op: Name }>>[] = [];
    this.plan.ops.forEach((op, index) => {
      if (op.op === name && !this.#claimed.has(index)) found.push({ op: op as Extract<Op, { op: Name }>, index });
    });
    return found;
  }

  /** The unclaimed op of that kind which writes a buffer. */
  writer<Name extends Op["op"]>(id: BufferId, name: Name): Placed<Extract<Op, { op: Name }>> | undefined {
    const index = this.#writers.get(id);
    if (index === undefined || this.#claimed.has(index)) return undefined;
    const op = this.plan.ops[index]!;
    return op.op === name ? { op: op as Extract<Op, { op: Name }>, index } : undefined;
  }

  /** Indices of the ops that read a buffer. */
  readers(id: BufferId): readonly number[] {
    return this.#readers.get(id) ?? [];
  }

  isPinned(id: BufferId): boolean {
    return this.#pinned.has(id);
  }

  /** True when one op reads the buffer and nobody outside the step does: fusion may swallow it. */
  isInternal(id: BufferId): boolean {
    return !this.#pinned.has(id) && this.readers(id).length === 1;
  }

  weight(id: WeightId): PlanWeight {
    return this.plan.weights[id]!;
  }

  /** True when a single op reads the weight, so that it can become a part of a fused one. */
  isReadOnce(id: WeightId): boolean {
    return this.#weightReaders.get(id) === 1;
  }

  /** True when two matrices can be parts of one. */
  canShareMatrix(a: WeightId, b: WeightId): boolean {
    return canShareMatrix(this.weight(a), this.weight(b), this.backend);
  }

  addBuffer(buffer: LoweredBuffer): number {
    return this.buffers.push(buffer) - 1;
  }

  /** The graph's index of a plan weight that is not fused. */
  plainWeight(id: WeightId): number {
    const known = this.#plainWeights.get(id);
    if (known !== undefined) return known;
    const index = this.weights.push({ native: nativeWeight(this.weight(id), this.backend), parts: [id] }) - 1;
    this.#plainWeights.set(id, index);
    return index;
  }

  /** Matrices as one, rows below each other. */
  fuseMatrices(parts: readonly WeightId[]): number {
    const rows = parts.reduce((sum, id) => sum + this.weight(id).rows, 0);
    return this.weights.push({ native: { ...nativeWeight(this.weight(parts[0]!), this.backend), rows }, parts }) - 1;
  }

  /** Vectors as one, end to end; -1 for none. */
  fuseVectors(parts: readonly WeightId[]): number {
    if (parts.length === 0) return -1;
    const cols = parts.reduce((sum, id) => sum + this.weight(id).cols, 0);
    return this.weights.push({ native: { ...nativeWeight(this.weight(parts[0]!), this.backend), cols }, parts }) - 1;
  }

  /** Takes ops out of the plan's order; what replaces them is emitted. */
  claim(...ops: readonly (Placed | undefined)[]): void {
    for (const placed of ops) if (placed !== undefined) this.#claimed.add(placed.index);
  }

  emit(index: number, op: NativeOp): void {
    this.#emitted.set(index, [...(this.#emitted.get(index) ?? []), op]);
  }

  /** Lets a buffer live in the memory of another, which is no longer read under its own name. */
  alias(id: BufferId, target: BufferId): void {
    this.#aliases.set(id, target);
  }

  /** The buffer whose memory a buffer uses. */
  resolve(id: number): number {
    let current = id as BufferId;
    for (let next = this.#aliases.get(current); next !== undefined; next = this.#aliases.get(current)) current = next;
    return current;
  }

  /** The native ops in order: emitted ones at their places, `plain` for every op that nobody claimed. */
  order(plain: (op: Op) => NativeOp | undefined): NativeOp[] {
    return this.plan.ops.flatMap((op, index) => {
      const emitted = this.#emitted.get(index) ?? [];
      if (this.#claimed.has(index)) return emitted;
      const lowered = plain(op);
      return lowered === undefined ? emitted : [...emitted, lowered];
    });
  }
}
