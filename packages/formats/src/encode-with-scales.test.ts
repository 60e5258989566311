import { describe, expect, test } from "vitest";
import { randomValues } from "../test/random-values.ts";
import {
  dequantize,
  encodeWithScales,
  forEachScale,
  formats,
  loadCodeRow,
  parseWeightFormat,
  type QuantizedTensor,
  quantizeAbsMax,
  weightFormats,
} from "./index.ts";

const seed = 31_337;
const scaled = [...weightFormats].filter(([, { granularity }]) => granularity !== undefined);
const integers = scaled.filter(([, { format }]) => formats[format].kind === "integer");

/** The nearest integer, ties to even, written the long way. */
function nearestEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** Codes as signed integers, one per element. */
function signedCodes({ weightFormat, rows, cols, codes }: QuantizedTensor): number[] {
  const format = formats[weightFormat.format];
  const rowCodes = new Uint8Array(cols);
  return Array.from({ length: rows }, (_, row) => {
    loadCodeRow(format, codes, row, rowCodes);
    return [...rowCodes].map((code) => format.decode(code));
  }).flat();
}

describe.each(integers)("%s", (_, weightFormat) => {
  const { max } = formats[weightFormat.format];
  const low = weightFormat.affine ? -max - 1 : -max;

  test(`codes are clamp(round(x / scale) + zeroPoint), to the bit (seed ${seed})`, () => {
    const [rows, cols] = [130, 131];
    const values = randomValues(seed, rows * cols).map((value, i) => (value + 0.3) * 2 ** (i % 5));
    const tensor = quantizeAbsMax(values, rows, cols, weightFormat);
    const expected = new Float32Array(rows * cols);
    const positions = Float32Array.from({ length: rows * cols }, (_, i) => i);
    forEachScale(weightFormat.granularity!, [rows, cols], positions, (index, members, start, end) => {
      for (const i of members.subarray(start, end)) {
        const zeroPoint = tensor.zeroPoints?.[index] ?? 0;
        const rounded = nearestEven(Math.fround(values[i]! / tensor.scales[index]!));
        expected[i] = Math.min(max, Math.max(low, rounded + zeroPoint));
      }
    });
    const codes = signedCodes(tensor);
    expect(codes.findIndex((code, i) => code !== expected[i])).toBe(-1);
    expect(new Set(codes).size).toBeGreaterThan(max);
  });
});

test.each(["int8", "int4", "int3", "int2"])(`zero decodes to exactly 0 in affine %s (seed ${seed})`, (format) => {
  const weightFormat = parseWeightFormat(`${format}-channel-affine`);
  const [rows, cols] = [4000, 4]; // every row is a range of its own
  const values = randomValues(seed, rows * cols).map((value, i) => {
    if (i % cols === 0) return 0;
    const row = Math.floor(i / cols);
    return (value + (row % 7) - 3) * 2 ** ((row % 61) - 30); // ranges on either side of zero and around it, of all sizes
  });
  const back = dequantize(quantizeAbsMax(values, rows, cols, weightFormat));
  for (let row = 0; row < rows; row++) expect(back[row * cols]! + 0).toBe(0);
});

test("any scales can be given, and values beyond their reach saturate", () => {
  const values = new Float32Array([0.4, -0.5, 1.5, 9, -9, 0]);
  const symmetric = encodeWithScales(values, 1, 6, parseWeightFormat("int3-tensor"), new Float32Array([1]), undefined);
  expect(signedCodes(symmetric)).toEqual([0, 0, 2, 3, -3, 0]);
  const scales = new Float32Array([1]);
  const affine = encodeWithScales(values, 1, 6, parseWeightFormat("int3-tensor-affine"), scales, new Int8Array([-2]));
  expect(signedCodes(affine)).toEqual([-2, -2, 0, 3, -4, -2]);
  expect([...dequantize(affine)]).toEqual([0, 0, 2, 5, -2, 0]);
});

test("int3 and int2 codes are what an int4 reader reads", () => {
  for (const name of ["int3", "int2"] as const) {
    const weightFormat = parseWeightFormat(`${name}-g32-affine`);
    const values = randomValues(seed, 3 * 77);
    const tensor = quantizeAbsMax(values, 3, 77, weightFormat);
    const asInt4 = { ...tensor, weightFormat: parseWeightFormat("int4-g32-affine") };
    expect(dequantize(asInt4)).toEqual(dequantize(tensor));
    expect(signedCodes(asInt4)).toContain(-formats[name].max - 1);
  }
});

test("MX and NVFP4 matrices encode under their scales as those that chose them do", () => {
  const values = randomValues(seed, 3 * 77);
  for (const name of ["mxfp4", "mxfp8", "nvfp4"]) {
    const { codes, scales, weightFormat } = quantizeAbsMax(values, 3, 77, parseWeightFormat(name));
    expect(encodeWithScales(values, 3, 77, weightFormat, scales, undefined).codes).toEqual(codes);
  }
});

test("scales and zero points that do not belong to the format are refused", () => {
  const encode = (name: string, scales: number[], zeroPoints?: number[]) => () => {
    const zeros = zeroPoints === undefined ? undefined : new Int8Array(zeroPoints);
    return encodeWithScales(new Float32Array(4), 2, 2, parseWeightFormat(name), new Float32Array(scales), zeros);
  };
  expect(encode("int8-channel", [1])).toThrow("1 scales are given where int8-channel has 2");
  expect(encode("int8-channel", [1, NaN])).toThrow("a scale is a finite number from 0 up, not NaN");
  expect(encode("int8-channel", [1, -1])).toThrow("not -1");
  expect(encode("int8-channel", [1, 1], [0, 0])).toThrow("int8-channel has no zero points");
  expect(encode("int4-channel-affine", [1, 1])).toThrow("int4-channel-affine needs zero points");
  expect(encode("int4-channel-affine", [1, 1], [0])).toThrow("1 zero points go with 2 scales");
  expect(encode("int4-channel-affine", [1, 1], [0, 8])).toThrow("zero point 8 is no code of int4");
});
