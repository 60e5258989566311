import type { BufferId, Op, WeightId } from "./plan.ts";

/** The buffers an op reads, in the order of its fields. */
export function buffersRead(op: Op): readonly BufferId[] {
  switch (op.op) {
    case "embed":
      return [];
    case "rmsNorm":
    case "linear":
    case "rope":
    case "gatherRows":
    case "tap":
      return [op.x];
    case "add":
      return [op.x, op.y];
    case "kvWrite":
      return [op.k, op.v];
    case "attention":
      return [op.q];
    case "siluMul":
    case "geluMul":
      return [op.gate, op.up];
    default:
      return op satisfies never;
  }
}

/** The buffer an op writes; undefined for `kvWrite` (it writes pages) and `tap`. */
export function bufferWritten(op: Op): BufferId | undefined {
  return op.op === "kvWrite" || op.op === "tap" ? undefined : op.out;
}

/** The weights an op reads. */
export function weightsRead(op: Op): readonly WeightId[] {
  switch (op.op) {
    case "embed":
      return [op.table];
    case "rmsNorm":
      return [op.weight];
    case "linear":
      return op.bias === undefined ? [op.weight] : [op.weight, op.bias];
    default:
      return [];
  }
}

/** Buffers that must keep their values to the end of the step: logits, outputs and taps, and what the caller wrote. */
export function pinnedBuffers(plan: {
  readonly ops: readonly Op[];
  readonly inputs: readonly BufferId[];
  readonly outputs: readonly BufferId[];
  readonly logits: BufferId | undefined;
}): ReadonlySet<BufferId> {
  const pinned = new Set([...plan.inputs, ...plan.outputs]);
  if (plan.logits !== undefined) pinned.add(plan.logits);
  for (const op of plan.ops) if (op.op === "tap") pinned.add(op.x);
  return pinned;
}
