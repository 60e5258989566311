import { parseWeightFormat, type QuantizedTensor, weightFormats } from "@kvant/formats";
import { expect, test } from "vitest";
import { quantizationError, quantizeWeight } from "./index.ts";

const matrix = Float32Array.from({ length: 4 * 256 }, (_, i) => Math.sin(i * i) * (1 + (i % 5)));
const errorAs = (name: string) =>
  quantizationError(matrix, quantizeWeight("absmax", matrix, 4, 256, parseWeightFormat(name)));

test("what is exact in the format costs nothing", () => {
  const exact = new Float32Array([-127, 0, 1, 64]);
  const report = quantizationError(exact, quantizeWeight("absmax", exact, 1, 4, parseWeightFormat("int8-tensor")));
  expect(report).toEqual({
    sqnrDecibels: Infinity,
    relativeError: 0,
    largestError: 0,
    saturatedCount: 0,
    zeroedCount: 0,
    nonFiniteCount: 0,
  });
});

test("figures follow their definitions", () => {
  const tensor: QuantizedTensor = {
    weightFormat: parseWeightFormat("int8-tensor"),
    rows: 1,
    cols: 4,
    codes: new Uint8Array([0, 3, 127, 0]),
    scales: new Float32Array([1]),
    zeroPoints: undefined,
  };
  const report = quantizationError(new Float32Array([0.4, 3, 130, Number.NaN]), tensor);
  expect(report).toMatchObject({ largestError: 3, saturatedCount: 1, zeroedCount: 1, nonFiniteCount: 1 });
  const [signal, noise] = [0.16 + 9 + 16900, 0.16 + 9];
  expect(report.relativeError).toBeCloseTo(Math.sqrt(noise / signal), 6);
  expect(report.sqnrDecibels).toBeCloseTo(10 * Math.log10(signal / noise), 5);
});

test("more bits and smaller groups lose less", () => {
  const decibels = ["int4-tensor", "int4-channel", "int4-g32", "e4m3-channel", "int8-channel", "int8-g32"].map(
    (name) => errorAs(name).sqnrDecibels,
  );
  expect(decibels).toEqual([...decibels].sort((a, b) => a - b));
  expect(errorAs("int8-channel").sqnrDecibels).toBeGreaterThan(40);
});

// The scales of MXFP4 and NVFP4 are rounded, so that the largest values of a block may lie beyond them.
test.each([...weightFormats].filter(([, each]) => each.granularity !== undefined && each.scaleFormat === undefined))(
  "absmax clips nothing in %s",
  (name) => {
    expect(errorAs(name).saturatedCount).toBe(0);
  },
);

test("sizes that differ are refused", () => {
  const tensor = quantizeWeight("absmax", matrix, 4, 256, parseWeightFormat("int8"));
  expect(() => quantizationError(new Float32Array(3), tensor)).toThrow("3 values are compared with a matrix [4, 256]");
});
