import { formats, type KvFormatName, kvFormatNames, pageLayout } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { seededRandom } from "../test/seeded-random.ts";
import { ArrayPages } from "./array-pages.ts";

const shape = { layerCount: 3, kvHeads: 2, headDim: 10, pageTokens: 16 };
const vectorLength = shape.kvHeads * shape.headDim;

function pagesOf(format: KvFormatName, pageCount = 4): ArrayPages {
  const scales = formats[format].bits === 8 ? "token-head" : "none";
  return new ArrayPages({ layout: pageLayout({ ...shape, format, scales }), pageCount });
}

/** Worst |error| / max|x| of one vector: half a step of int8, half of the last mantissa bit of the floats. */
const relativeError = { fp32: 0, bf16: 2 ** -8, fp16: 2 ** -11, e4m3: 2 ** -4, e5m2: 2 ** -3, int8: 0.5 / 127 };

describe.each(kvFormatNames)("%s pages", (format) => {
  test("give every token of every page, layer and head back within the format's error", () => {
    const random = seededRandom(1);
    const pages = pagesOf(format);
    const written: { page: number; layer: number; slot: number; k: Float32Array; v: Float32Array }[] = [];
    for (let page = 0; page < pages.pageCount; page++) {
      for (let layer = 0; layer < shape.layerCount; layer++) {
        for (let slot = 0; slot < shape.pageTokens; slot++) {
          const magnitude = 2 ** (10 * random.unit() - 5);
          const vector = () => Float32Array.from({ length: vectorLength }, () => magnitude * (2 * random.unit() - 1));
          const token = { page, layer, slot, k: vector(), v: vector() };
          pages.append(page, layer, slot, token.k, token.v);
          written.push(token);
        }
      }
    }
    for (const { page, layer, slot, k, v } of written) {
      for (let head = 0; head < shape.kvHeads; head++) {
        const range = [head * shape.headDim, (head + 1) * shape.headDim] as const;
        for (const [values, stored] of [
          [k.subarray(...range), pages.readK(page, layer, head, slot)] as const,
          [v.subarray(...range), pages.readV(page, layer, head, slot)] as const,
        ]) {
          const absMax = values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
          const worst = values.reduce((max, value, i) => Math.max(max, Math.abs(value - stored[i]!)), 0);
          expect(worst).toBeLessThanOrEqual(absMax * relativeError[format] * (1 + 1e-6));
        }
      }
    }
  });

  test("give zeros back as zeros", () => {
    const pages = pagesOf(format);
    pages.bytes.fill(0xff);
    pages.append(1, 0, 3, new Float32Array(vectorLength), new Float32Array(vectorLength));
    expect(pages.readK(1, 0, 1, 3)).toEqual(new Float32Array(shape.headDim));
    expect(pages.readV(1, 0, 1, 3)).toEqual(new Float32Array(shape.headDim));
  });

  test("copy with everything they hold", () => {
    const pages = pagesOf(format);
    const k = Float32Array.from({ length: vectorLength }, (_, i) => i - 7);
    pages.append(2, 1, 15, k, k);
    pages.copyPage(2, 3);
    expect(pages.readK(3, 1, 1, 15)).toEqual(pages.readK(2, 1, 1, 15));
    expect(pages.readV(3, 1, 0, 15)).toEqual(pages.readV(2, 1, 0, 15));
  });
});

test("an int8 vector lies at the documented bytes with its scale", () => {
  const pages = pagesOf("int8");
  const k = Float32Array.from({ length: vectorLength }, (_, i) => (i < 10 ? i : -2 * i));
  pages.append(1, 2, 5, k, new Float32Array(vectorLength));
  const { layout } = pages;
  const layerStart = layout.pageBytes + 2 * layout.layerBytes;
  const codes = new Int8Array(pages.bytes.buffer, layerStart + layout.kCodes, layout.codeBytes);
  const scales = new Float32Array(pages.bytes.buffer, layerStart + layout.kScales, layout.scaleBytes / 4);
  expect(scales[0 * 16 + 5]).toBe(Math.fround(9 / 127));
  expect(scales[1 * 16 + 5]).toBe(Math.fround(38 / 127));
  const at = (head: number) => [...codes.subarray((head * 16 + 5) * 10, (head * 16 + 6) * 10)];
  expect(at(0)).toEqual([0, 14, 28, 42, 56, 71, 85, 99, 113, 127]);
  expect(at(1)[9]).toBe(-127);
});

test("a vector too small for a scale is stored as zeros", () => {
  const pages = pagesOf("int8");
  const tiny = new Float32Array(vectorLength).fill(2 ** -149);
  pages.append(1, 0, 0, tiny, tiny);
  expect(pages.scaleOf("k", 1, 0, 0, 0)).toBe(0);
  expect(pages.readK(1, 0, 0, 0)).toEqual(new Float32Array(shape.headDim));
});

test.each([
  ["head", [1, 2, 3, 4, 5, 6]],
  ["tensor", [1, 3, 5]],
] as const)("static %s scales are looked up by layer, and what they clip is counted", (scales, k) => {
  const layout = pageLayout({ ...shape, format: "int8", scales });
  const pages = new ArrayPages({
    layout,
    pageCount: 2,
    scales: { k: Float32Array.from(k), v: Float32Array.from(k, () => 100) },
  });
  const values = Float32Array.from({ length: vectorLength }, (_, i) => (i === 11 ? 700 : 12));
  pages.append(1, 1, 0, values, values);
  const [first, second] = scales === "head" ? [3, 4] : [3, 3];
  expect(pages.scaleOf("k", 1, 1, 0, 0)).toBe(first);
  expect(pages.readK(1, 1, 0, 0)[0]).toBe(12);
  expect(pages.readK(1, 1, 1, 0)[1]).toBe(127 * second);
  expect(pages.readV(1, 1, 1, 0)[1]).toBe(700);
  expect(pages.saturationCount).toBe(1);
});

test("scales that are missing, superfluous, of the wrong count or not positive are refused", () => {
  const fixed = pageLayout({ ...shape, format: "e4m3", scales: "tensor" });
  const own = pageLayout({ ...shape, format: "e4m3", scales: "token-head" });
  const three = Float32Array.of(1, 1, 1);
  expect(() => new ArrayPages({ layout: fixed, pageCount: 2 })).toThrow(
    expect.objectContaining({ code: "SCALE_MISSING" }),
  );
  expect(() => new ArrayPages({ layout: own, pageCount: 2, scales: { k: three, v: three } })).toThrow(
    /layout says "token-head"/,
  );
  expect(() => new ArrayPages({ layout: fixed, pageCount: 2, scales: { k: three, v: Float32Array.of(1) } })).toThrow(
    /1 static v scales for 3 tensor scales/,
  );
  expect(
    () => new ArrayPages({ layout: fixed, pageCount: 2, scales: { k: Float32Array.of(1, 0, 1), v: three } }),
  ).toThrow(/static k scale 1 is 0/);
});

test("indices outside the store and vectors of the wrong length are refused", () => {
  const pages = pagesOf("bf16");
  const vector = new Float32Array(vectorLength);
  expect(() => pages.append(4, 0, 0, vector, vector)).toThrow(/page 4 is outside 0\.\.3/);
  expect(() => pages.append(0, 3, 0, vector, vector)).toThrow(/layer 3 is outside 0\.\.2/);
  expect(() => pages.append(0, 0, 16, vector, vector)).toThrow(/slot 16 is outside 0\.\.15/);
  expect(() => pages.readK(0, 0, 2, 0)).toThrow(/head 2 is outside 0\.\.1/);
  expect(() => pages.append(0, 0, 0, vector, vector.subarray(1))).toThrow(/v has 19 values/);
  expect(() => pages.copyPage(0, 9)).toThrow(/page 9/);
});
