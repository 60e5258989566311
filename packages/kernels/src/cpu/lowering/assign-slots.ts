import type { NativeOp } from "../native-addon.ts";
import type { LoweredBuffer } from "./fusion-graph.ts";
import { nativeReads, nativeWrite } from "./native-operands.ts";

/**
 * A memory slot per buffer, such that buffers alive at the same time never share one. A buffer lives from the op that
 * writes it (from the start, when no op does) to its last reader, or to the end when it is kept. What a store of keys and
 * values reads lives as long as the queries that it writes: attention on cuda may turn queries itself, and then reads it too.
 * Slots never mix token rows and logit rows, whose counts differ.
 */
export function assignSlots(
  buffers: readonly LoweredBuffer[],
  ops: readonly NativeOp[],
  kept: ReadonlySet<number>,
): readonly number[] {
  const lastUse = new Map<number, number>();
  ops.forEach((op, index) => {
    const written = nativeWrite(op);
    for (const buffer of [...nativeReads(op), ...(written === undefined ? [] : [written])]) lastUse.set(buffer, index);
  });
  for (const op of ops) {
    if (op.op === "qkvStore") lastUse.set(op.qkv, Math.max(lastUse.get(op.qkv)!, lastUse.get(op.out)!));
  }
  for (const buffer of kept) lastUse.set(buffer, ops.length);

  const slots = new Array<number>(buffers.length).fill(-1);
  const slotWidths: number[] = [];
  const free: { readonly slot: number; readonly rows: LoweredBuffer["rows"] }[] = [];
  const take = (buffer: number): void => {
    const { width, rows } = buffers[buffer]!;
    // The tightest slot that is wide enough, else the widest, which grows.
    const candidates = free.filter((each) => each.rows === rows).map(({ slot }) => slot);
    const roomy = candidates.filter((slot) => slotWidths[slot]! >= width);
    const best =
      roomy.length > 0
        ? roomy.reduce((a, b) => (slotWidths[b]! < slotWidths[a]! ? b : a))
        : candidates.length > 0
          ? candidates.reduce((a, b) => (slotWidths[b]! > slotWidths[a]! ? b : a))
          : slotWidths.push(0) - 1;
    slotWidths[best] = Math.max(slotWidths[best]!, width);
    slots[buffer] = best;
    const index = free.findIndex(({ slot }) => slot === best);
    if (index !== -1) free.splice(index, 1);
  };

  const written = new Set(ops.map(nativeWrite));
  buffers.forEach((_, buffer) => {
    if (!written.has(buffer)) take(buffer);
  });
  ops.forEach((op, index) => {
    const out = nativeWrite(op);
    if (out !== undefined) take(out);
    for (const [buffer, last] of lastUse) {
      if (last === index) free.push({ slot: slots[buffer]!, rows: buffers[buffer]!.rows });
    }
  });
  return slots;
}
