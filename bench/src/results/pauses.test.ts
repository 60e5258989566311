import { expect, test } from "vitest";
import type { RequestRecord } from "../load/request-record.ts";
import { pauseP99 } from "./pauses.ts";
import { sampleRecord } from "./testing/sample-load-run.ts";

function p99(gaps: readonly number[], changes: Partial<RequestRecord> = {}): number | undefined {
  return pauseP99(sampleRecord(0, { gaps: Float32Array.from(gaps), outputTokens: gaps.length + 1, ...changes }));
}

/** `count` pauses of a second, then the given ones. */
function seconds(count: number, ...more: readonly number[]): readonly number[] {
  return [...new Array<number>(count).fill(1), ...more];
}

test("of fewer than a hundred pauses it is the longest", () => {
  expect(p99([1, 4, 2])).toBe(4);
  expect(p99(seconds(98, 8))).toBe(8);
});

test("of each hundred pauses one may be longer", () => {
  expect(p99(seconds(99, 8))).toBe(1);
  expect(p99(seconds(98, 8, 8))).toBe(8);
  expect(p99(seconds(198, 8, 16))).toBe(1);
  expect(p99(seconds(197, 4, 8, 16))).toBe(4);
});

test("a chunk of several tokens ends as many pauses, each a part of its gap", () => {
  expect(p99([6, 1], { gapTokens: Uint16Array.of(3, 1), outputTokens: 5 })).toBe(2);
  // Untold: six tokens in three chunks are two in each.
  expect(p99([6, 1], { outputTokens: 6 })).toBe(3);
});

test("one chunk has no pauses", () => {
  expect(p99([])).toBeUndefined();
});
