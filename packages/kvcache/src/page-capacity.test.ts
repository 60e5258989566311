import { pageLayout } from "@kvant/formats";
import { expect, test } from "vitest";
import { bytesForTokens, capacityTokens, pagesForBytes } from "./page-capacity.ts";

// 2 parts of 4 heads x 16 tokens x 64 codes + 2 of 4 x 16 float32 scales = 8704 bytes per layer.
const layout = pageLayout({
  layerCount: 22,
  kvHeads: 4,
  headDim: 64,
  pageTokens: 16,
  format: "int8",
  scales: "token-head",
});

test("a budget holds whole pages, and one of them is reserved", () => {
  expect(layout.pageBytes).toBe(22 * 8704);
  expect(pagesForBytes(layout, 10 * layout.pageBytes + 1)).toBe(10);
  expect(capacityTokens(layout, 10 * layout.pageBytes + 1)).toBe(9 * 16);
  expect(capacityTokens(layout, layout.pageBytes - 1)).toBe(0);
});

test("the bytes for some tokens are the least that hold them", () => {
  for (const tokens of [0, 1, 16, 17, 1000]) {
    const bytes = bytesForTokens(layout, tokens);
    expect(capacityTokens(layout, bytes)).toBeGreaterThanOrEqual(tokens);
    if (tokens > 0) expect(capacityTokens(layout, bytes - 1)).toBeLessThan(tokens);
  }
});

test("8-bit pages hold nearly four times the tokens of fp32 pages", () => {
  const wide = pageLayout({ ...layout, format: "fp32", scales: "none" });
  const budget = 64 * 1024 * 1024;
  expect(capacityTokens(layout, budget) / capacityTokens(wide, budget)).toBeCloseTo(4 / (1 + 4 / 64), 1);
});

test("impossible budgets are refused", () => {
  expect(() => pagesForBytes(layout, -1)).toThrow(/-1 bytes/);
  expect(() => bytesForTokens(layout, Number.NaN)).toThrow(/NaN tokens/);
});
