import type { PageMemory } from "./page-memory.ts";
import type { PageTables } from "./page-tables.ts";
import type { StepTokens } from "./step-tokens.ts";

/** Stores k and v at the tokens' places of one layer; returns the number of values clipped by static scales. */
export function kvWrite(
  k: Float32Array, // [T, kvHeads * headDim]
  v: Float32Array, // as k
  tokens: StepTokens,
  memory: PageMemory,
  tables: PageTables,
  layer: number,
): number {
  const { kvHeads, headDim } = memory.group;
  let clipped = 0;
  for (let token = 0; token < tokens.positions.length; token++) {
    const place = tables.place(tokens.slots[token]!, tokens.positions[token]!, layer);
    for (let head = 0; head < kvHeads; head++) {
      const start = (token * kvHeads + head) * headDim;
      clipped += memory.write("k", place, head, k.subarray(start, start + headDim));
      clipped += memory.write("v", place, head, v.subarray(start, start + headDim));
    }
  }
  return clipped;
}
