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

  describe("on a device with memory of its own", () => {
    const gibibyte = 2 ** 30;
    const memory = {
      totalBytes: 80 * gibibyte,
      freeBytes: 79 * gibibyte,
      weightBytes: 8 * gibibyte,
      activationBytes: gibibyte,
      reserveBytes: 2 * gibibyte,
    };
    // As llama3-8b with INT8 KV: 32 layers of 8 heads of 128.
    const large = { ...group, layerCount: 32, kvHeads: 8, headDim: 128 };
    const largePageBytes = 32 * 2 * 8 * 16 * (128 + 4);
    const serving = { pageTokens: 16, maxRows: 256, contextLength: 8192, deviceMemory: memory };

    test("takes nine tenths of what weights, activations and the reserve leave", () => {
      const pages = Math.floor((0.9 * 68 * gibibyte) / largePageBytes);
      expect(pages).toBe(60_769);
      expect(pageBudget([large], serving)).toEqual({ pageCounts: [pages], poolTokens: (pages - 1) * 16 });
    });

    test("takes no more than a whole context per row slot", () => {
      expect(pageBudget([large], { ...serving, contextLength: 1000 }).pageCounts).toEqual([1 + 256 * 63]);
    });

    test("gives way to what the caller asks for", () => {
      expect(pageBudget([large], { ...serving, kvPages: 9 }).pageCounts).toEqual([9]);
      expect(pageBudget([large], { ...serving, kvMemoryBytes: 10.5 * largePageBytes }).pageCounts).toEqual([10]);
    });

    test("is refused with the sizes when weights leave no page, or do not fit themselves", () => {
      const tight = { ...serving, deviceMemory: { ...memory, freeBytes: 11 * gibibyte } };
      expect(() => pageBudget([large], tight)).toThrow(
        expect.objectContaining({
          code: "KV_TOO_SMALL",
          message: expect.stringContaining("0 bytes (of 11811160064 free"),
        }),
      );
      const full = { ...serving, deviceMemory: { ...memory, freeBytes: 8 * gibibyte } };
      expect(() => pageBudget([large], full)).toThrow(
        expect.objectContaining({
          code: "OUT_OF_MEMORY",
          message: expect.stringContaining("weights of 8589934592 bytes"),
        }),
      );
    });
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
