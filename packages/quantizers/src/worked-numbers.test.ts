import { readFileSync } from "node:fs";
import {
  dequantize,
  formats,
  loadCodeRow,
  parseWeightFormat,
  type QuantizedTensor,
  type WeightFormat,
} from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { type QuantizeOptions, quantizeWeight } from "./index.ts";

/** A worked quantization of docs/how-quantization-works.md. What it does not show is not compared. */
interface WorkedNumbers {
  readonly weightFormat: string | WeightFormat;
  readonly method: string;
  readonly options?: QuantizeOptions;
  readonly matrix: readonly (readonly number[])[];
  readonly scales: readonly number[];
  readonly tensorScale?: number;
  readonly zeroPoints?: readonly number[];
  /** The numbers that codes stand for. */
  readonly codes?: readonly (readonly number[])[];
  readonly values?: readonly (readonly number[])[];
  readonly squaredError: number;
}

const page = readFileSync(new URL("../../../docs/how-quantization-works.md", import.meta.url), "utf8");
const examples = [...page.matchAll(/^```json\n(.*?)^```$/gms)].map(([, json]) => JSON.parse(json!) as WorkedNumbers);

function decodedCodes({ weightFormat, rows, cols, codes }: QuantizedTensor): number[] {
  const format = formats[weightFormat.format];
  const rowCodes = new Uint8Array(cols);
  return Array.from({ length: rows }, (_, row) => {
    loadCodeRow(format, codes, row, rowCodes);
    return [...rowCodes].map((code) => format.decode(code) + 0); // + 0: -0 is written 0
  }).flat();
}

test("the page shows every method that has worked numbers, and every kind of format", () => {
  const names = examples.map(({ weightFormat }) => (typeof weightFormat === "string" ? weightFormat : "other"));
  expect(new Set(examples.map(({ method }) => method))).toEqual(new Set(["absmax", "percentile", "mse"]));
  expect(names).toEqual(expect.arrayContaining(["int8-tensor", "int8-channel", "other", "int4-tensor-affine"]));
  expect(names).toEqual(expect.arrayContaining(["int3-tensor", "int2-tensor", "e4m3-channel", "mxfp4", "nvfp4"]));
});

describe.each(examples)("the worked numbers of $weightFormat by $method", (example) => {
  test("are what quantization gives", () => {
    const { matrix, method, options } = example;
    const weightFormat =
      typeof example.weightFormat === "string" ? parseWeightFormat(example.weightFormat) : example.weightFormat;
    const input = Float32Array.from(matrix.flat());
    const tensor = quantizeWeight(method, input, matrix.length, matrix[0]!.length, weightFormat, options);
    const restored = dequantize(tensor).map((value) => value + 0);

    expect(tensor.scales).toEqual(Float32Array.from(example.scales));
    expect(tensor.zeroPoints).toEqual(example.zeroPoints && Int8Array.from(example.zeroPoints));
    expect(tensor.tensorScale).toEqual(example.tensorScale && Math.fround(example.tensorScale));
    if (example.codes !== undefined) expect(decodedCodes(tensor)).toEqual(example.codes.flat());
    if (example.values !== undefined) expect(restored).toEqual(Float32Array.from(example.values.flat()));
    const squaredError = input.reduce((sum, value, i) => sum + (value - restored[i]!) ** 2, 0);
    expect(Number(squaredError.toPrecision(3))).toBe(example.squaredError);
  });
});
