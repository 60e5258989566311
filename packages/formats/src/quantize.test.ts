import { describe, expect, test } from "vitest";
import { randomValues } from "../test/random-values.ts";
import { dequantize, formats, parseWeightFormat, quantizeAffine, quantizeSymmetric, weightFormats } from "./index.ts";

const seed = 20_240_607;
const scaled = [...weightFormats].filter(([, { granularity }]) => granularity !== undefined);
const symmetric = scaled.filter(([, { affine, scaleFormat }]) => !affine && scaleFormat === undefined);
const affine = scaled.filter(([, { affine }]) => affine);

describe.each(symmetric)("%s", (_, weightFormat) => {
  test(`a ragged matrix comes back within half a step (seed ${seed})`, () => {
    const [rows, cols] = [5, 77];
    const values = randomValues(seed, rows * cols);
    const tensor = quantizeSymmetric(values, rows, cols, weightFormat);
    const back = dequantize(tensor);
    // The widest gap between neighbouring values of the format, as a fraction of its largest value.
    const gap = { int8: 1 / 127, int4: 1 / 7, int3: 1 / 3, int2: 1, e4m3: 32 / 448, e5m2: 8192 / 57344, e2m1: 2 / 6 };
    const largest = values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const half = (largest * gap[weightFormat.format as keyof typeof gap]) / 2;
    for (let i = 0; i < values.length; i++) {
      expect(Math.abs(back[i]! - values[i]!)).toBeLessThanOrEqual(half * 1.001);
    }
    expect(quantizeSymmetric(back, rows, cols, weightFormat).codes).toEqual(tensor.codes);
  });

  test("a matrix of zeros has scales and codes of 0", () => {
    const tensor = quantizeSymmetric(new Float32Array(66), 2, 33, weightFormat);
    expect(tensor.scales.every((scale) => scale === 0)).toBe(true);
    expect(tensor.codes.every((code) => code === 0)).toBe(true);
    expect(dequantize(tensor)).toEqual(new Float32Array(66));
  });

  test("the largest magnitude of a group gets the largest code", () => {
    const tensor = quantizeSymmetric(new Float32Array([0.1, -3, 0.2, 0.3]), 1, 4, weightFormat);
    expect(dequantize(tensor)[1]).toBeCloseTo(-3, 5);
    expect(tensor.scales[0]).toBe(Math.fround(3 / formats[weightFormat.format].max));
  });
});

test("scales and codes follow the formula in float32", () => {
  const values = new Float32Array([0.3, -0.7, 0.05, 1.1, 2.2, -3.3]);
  const { scales, codes } = quantizeSymmetric(values, 2, 3, parseWeightFormat("int8-channel"));
  expect(scales).toEqual(new Float32Array([Math.fround(0.7) / 127, Math.fround(3.3) / 127]));
  expect([...new Int8Array(codes.buffer)]).toEqual([54, -127, 9, 42, 85, -127]);
});

test("4-bit codes lie two per byte, low nibble first, each row in whole bytes", () => {
  const values = new Float32Array([7, -7, 1, 0, 3, 7]);
  const { codes } = quantizeSymmetric(values, 2, 3, parseWeightFormat("int4-tensor"));
  expect([...codes]).toEqual([0x97, 0x01, 0x30, 0x07]);
});

test("axis 1 has a scale per column", () => {
  const weightFormat = { format: "int8", granularity: { kind: "channel", axis: 1 }, affine: false } as const;
  const tensor = quantizeSymmetric(new Float32Array([1, 200, -2, 100]), 2, 2, weightFormat);
  expect(tensor.scales).toEqual(new Float32Array([2 / 127, 200 / 127]));
  expect([...new Int8Array(tensor.codes.buffer)]).toEqual([64, 127, -127, 64]);
});

test("the last group of a row may be short and does not reach into the next row", () => {
  const weightFormat = { format: "int8", granularity: { kind: "group", size: 2 }, affine: false } as const;
  const tensor = quantizeSymmetric(new Float32Array([1, 2, 4, 8, 16, 32]), 2, 3, weightFormat);
  expect(tensor.scales).toEqual(new Float32Array([2 / 127, 4 / 127, 16 / 127, 32 / 127]));
});

test("NaN does not disturb its group, and infinity saturates", () => {
  const values = new Float32Array([NaN, 1, -2, 0.5]);
  const integers = quantizeSymmetric(values, 1, 4, parseWeightFormat("int8-tensor"));
  expect([...new Int8Array(integers.codes.buffer)]).toEqual([0, 64, -127, 32]);
  const floats = dequantize(quantizeSymmetric(values, 1, 4, parseWeightFormat("e4m3-tensor")));
  expect([...floats]).toEqual([NaN, 1, -2, 0.5]);
  const infinite = quantizeSymmetric(
    new Float32Array([Infinity, -Infinity, 1]),
    1,
    3,
    parseWeightFormat("int8-tensor"),
  );
  expect([...new Int8Array(infinite.codes.buffer)]).toEqual([127, -127, 0]);
  expect(Number.isFinite(infinite.scales[0]!)).toBe(true);
});

test("values too small for a scale become 0, and codes stay symmetric where the scale is subnormal", () => {
  const tiny = 2 ** -149;
  const format = parseWeightFormat("int8-tensor");
  expect(dequantize(quantizeSymmetric(new Float32Array([tiny, -tiny]), 1, 2, format))).toEqual(new Float32Array(2));
  const { codes } = quantizeSymmetric(new Float32Array([180 * tiny, -180 * tiny]), 1, 2, format);
  expect([...new Int8Array(codes.buffer)]).toEqual([127, -127]);
});

describe.each(affine)("%s", (_, weightFormat) => {
  test(`zero decodes to exactly 0 and the rest within one step (seed ${seed})`, () => {
    const [rows, cols] = [4, 77];
    const values = randomValues(seed, rows * cols).map((value, i) => (i % 9 === 0 ? 0 : value + 2));
    const tensor = quantizeAffine(values, rows, cols, weightFormat);
    const back = dequantize(tensor);
    const range = values.reduce((max, value) => Math.max(max, value), 0) + 2;
    const step = range / (2 ** formats[weightFormat.format].bits - 1);
    for (let i = 0; i < values.length; i++) {
      if (values[i] === 0) expect(back[i]).toBe(0);
      expect(Math.abs(back[i]! - values[i]!)).toBeLessThanOrEqual(step);
    }
  });
});

test("affine codes use the whole range of a one-sided group", () => {
  const weightFormat = parseWeightFormat("int8-tensor-affine");
  const { codes, zeroPoints, scales } = quantizeAffine(new Float32Array([0, 51, 255]), 1, 3, weightFormat);
  expect([...new Int8Array(codes.buffer)]).toEqual([-128, -77, 127]);
  expect(zeroPoints).toEqual(new Int8Array([-128]));
  expect(scales).toEqual(new Float32Array([1]));
});

test("affine quantization gives NaN the code of zero, and zeros a scale of 0", () => {
  const weightFormat = parseWeightFormat("int4-tensor-affine");
  expect([...dequantize(quantizeAffine(new Float32Array([NaN, 15, 3]), 1, 3, weightFormat))]).toEqual([0, 15, 3]);
  const zeros = quantizeAffine(new Float32Array(4), 2, 2, weightFormat);
  expect([...zeros.scales, ...zeros.zeroPoints!, ...zeros.codes]).toEqual([0, 0, 0, 0]);
});

test("operands that do not fit together are refused", () => {
  const int8 = parseWeightFormat("int8");
  expect(() => quantizeSymmetric(new Float32Array(5), 2, 3, int8)).toThrow("5 values do not fill a matrix [2, 3]");
  expect(() => quantizeSymmetric(new Float32Array(5), -1, 3, int8)).toThrow("[-1, 3] is not a matrix shape");
  expect(() => quantizeSymmetric(new Float32Array(6), 2, 3, parseWeightFormat("bf16"))).toThrow("bf16 has no scales");
  expect(() => quantizeSymmetric(new Float32Array(6), 2, 3, { ...int8, affine: true })).toThrow("quantizeAffine");
  expect(() => quantizeAffine(new Float32Array(6), 2, 3, int8)).toThrow("int8-channel is not an affine format");
  const groupless = { ...int8, granularity: { kind: "group", size: 0 } } as const;
  expect(() => quantizeSymmetric(new Float32Array(6), 2, 3, groupless)).toThrow("a positive integer, not 0");
});
