import { describe, expect, test } from "vitest";
import { windows } from "./windows.ts";

describe.each([
  ["with a beginning of sequence", 99, 0],
  ["without one", undefined, 1],
])("windows %s", (_, beginning, firstScored) => {
  test.each([1, 2, 7, 8, 9, 20, 63])("score each of %i tokens once", (count) => {
    const tokenIds = Int32Array.from({ length: count }, (_, i) => i);
    const scored: number[] = [];
    for (const { tokenIds: ids, from } of windows(tokenIds, 8, beginning)) {
      expect(ids.length).toBeLessThanOrEqual(8);
      if (beginning !== undefined) expect(ids[0]).toBe(beginning);
      for (let position = from; position + 1 < ids.length; position++) scored.push(ids[position + 1]!);
    }
    expect(scored).toEqual([...tokenIds.subarray(firstScored)]);
  });
});

test("every window but the first gives at least half a window of context", () => {
  const all = [...windows(new Int32Array(100), 16, 1)];
  expect(all[0]!.from).toBe(0);
  for (const { from } of all.slice(1)) expect(from + 1).toBeGreaterThanOrEqual(8);
});
