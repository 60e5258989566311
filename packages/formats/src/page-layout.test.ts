import { expect, test } from "vitest";
import { pageLayout } from "./page-layout.ts";

test("a page of 8-bit codes with token-head scales lays its four parts out one after the other", () => {
  const layout = pageLayout({
    layerCount: 3,
    kvHeads: 2,
    headDim: 64,
    pageTokens: 16,
    format: "int8",
    scales: "token-head",
  });
  expect(layout).toMatchObject({ kCodes: 0, vCodes: 2048, kScales: 4096, vScales: 4224, layerBytes: 4352 });
  expect(layout.pageBytes).toBe(3 * 4352);
  expect(layout.bytesPerToken).toBe((3 * 4352) / 16);
});

test("every part starts on a multiple of 16 and every page on a multiple of 64", () => {
  for (const headDim of [2, 6, 8, 10, 16, 80]) {
    for (const kvHeads of [1, 3]) {
      const layout = pageLayout({
        layerCount: 5,
        kvHeads,
        headDim,
        pageTokens: 16,
        format: "e4m3",
        scales: "token-head",
      });
      for (const part of [layout.vCodes, layout.kScales, layout.vScales, layout.layerBytes]) expect(part % 16).toBe(0);
      expect(layout.vCodes).toBeGreaterThanOrEqual(kvHeads * 16 * headDim);
      expect(layout.pageBytes % 64).toBe(0);
      expect(layout.pageBytes).toBeGreaterThanOrEqual(5 * layout.layerBytes);
    }
  }
});

test("static scales and wide formats take no bytes in the page", () => {
  const shape = { layerCount: 1, kvHeads: 2, headDim: 16, pageTokens: 16 };
  const fixed = pageLayout({ ...shape, format: "int8", scales: "head" });
  expect(fixed.layerBytes).toBe(2 * fixed.codeBytes);
  const wide = pageLayout({ ...shape, format: "fp32", scales: "none" });
  expect(wide.layerBytes).toBe(2 * 2 * 16 * 16 * 4);
});

test("scales that do not suit the format are refused", () => {
  const shape = { layerCount: 1, kvHeads: 2, headDim: 16, pageTokens: 16 };
  expect(() => pageLayout({ ...shape, format: "int8", scales: "none" })).toThrow(/int8 needs scales/);
  expect(() => pageLayout({ ...shape, format: "bf16", scales: "tensor" })).toThrow(/bf16 has no scales/);
  expect(() => pageLayout({ ...shape, headDim: 0, format: "bf16", scales: "none" })).toThrow(/headDim.*not 0/);
});
