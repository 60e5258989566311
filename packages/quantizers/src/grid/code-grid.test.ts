import { dequantize, quantizeAbsMax, type WeightFormat, weightFormatName, weightFormats } from "@kvant/formats";
import { expect, test } from "vitest";
import { normals } from "../../test/random-matrices.ts";
import { codeGrid, encodeOnGrid } from "./code-grid.ts";
import { checkedMagnitude, matrixScales, roundMatrix, wholeRangeScale } from "./group-scales.ts";

const seed = 42_001;
const [rows, cols] = [5, 75];
const narrow = (["int3", "int2"] as const).flatMap((format): WeightFormat[] => [
  { format, granularity: { kind: "group", size: 32 }, affine: false },
  { format, granularity: { kind: "channel", axis: 1 }, affine: true },
]);
const scaled = [...weightFormats.values(), ...narrow]
  .filter(({ granularity }) => granularity !== undefined)
  .map((weightFormat) => [weightFormatName(weightFormat), weightFormat] as const);

test.each(scaled)(`%s has the scales, values and codes of quantizeAbsMax (seed ${seed})`, (_, weightFormat) => {
  const values = normals(seed, rows * cols).map((value, i) => (i % 11 === 0 ? 0 : value * 3 ** (i % 5)));
  const expected = quantizeAbsMax(values, rows, cols, weightFormat);
  const grid = codeGrid(weightFormat, checkedMagnitude(values, rows, cols));
  const scales = matrixScales(grid, wholeRangeScale, values, rows, cols);
  expect(scales.scales).toEqual(expected.scales);
  if (expected.zeroPoints !== undefined) expect(scales.zeroPoints).toEqual(expected.zeroPoints);
  const rounded = roundMatrix(grid, scales, values, rows, cols);
  expect(rounded.map((value) => value + 0)).toEqual(dequantize(expected).map((value) => value + 0));
  const tensor = encodeOnGrid(grid, rounded, rows, cols, scales.scales, scales.zeroPoints);
  expect(tensor).toEqual(expected);
});

test("formats without scales and weights that are no numbers are refused", () => {
  expect(() => codeGrid({ format: "bf16", granularity: undefined, affine: false }, 1)).toThrow("bf16 has no scales");
  expect(() => checkedMagnitude(new Float32Array([1, 2, Number.NaN, 4]), 2, 2)).toThrow("element 2 is NaN");
  expect(() => checkedMagnitude(new Float32Array(3), 2, 2)).toThrow("3 values do not fill a matrix [2, 2]");
});
