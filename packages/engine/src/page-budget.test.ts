import { describe, expect, test } from "vitest";
import { pageBudget } from "./page-budget.ts";

// A page of 16 tokens: 2 layers x (K and V) x 2 heads x 16 tokens x (32 codes + 4 bytes of scale).
const group = {
  layerCount: 2,
  kvHeads: 2,
  headDim: 32,
  window: undefined,
  format: "int8",
  scales: { kind: "token-head" },
} as const;
const pageBytes = 2 * 2 * 2 * 16 * 36;
const sizes = { pageTokens: 16, maxRows: 4, contextLength: 100 };

describe("the page pool", () => {
  test("has room for a whole context per row slot, 16 at most, and the reserved page", () => {
    expect(pageBudget([group], sizes)).toEqual({ pageCounts: [1 + 4 * 7], poolTokens: 4 * 7 * 16 });
    expect(pageBudget([group], { ...sizes, maxRows: 256 }).pageCounts).toEqual([1 + 16 * 7]);
  });

  test("fits the bytes that are given, over all layer groups", () => {
    expect(pageBudget([group], { ...sizes, kvMemoryBytes: 10.9 * pageBytes }).pageCounts).toEqual([10]);
    expect(pageBudget([group, group], { ...sizes, kvMemoryBytes: 10.9 * pageBytes }).pageCounts).toEqual([5, 5]);
  });

  test("has the pages that are given", () => {
    expect(pageBudget([group], { ...sizes, kvPages: 9 })).toEqual({ pageCounts: [9], poolTokens: 128 });
  });

  test("too small for one page beside the reserved one is refused with the sizes", () => {
    const code = "KV_TOO_SMALL";
    expect(() => pageBudget([group], { ...sizes, kvMemoryBytes: 5000 })).toThrow(
      expect.objectContaining({
        code,
        field: "kvMemoryBytes",
        message: expect.stringContaining(`${pageBytes} bytes for 16 tokens`),
      }),
    );
    expect(() => pageBudget([group], { ...sizes, kvPages: 1 })).toThrow(
      expect.objectContaining({ code, field: "kvPages" }),
    );
  });
});
