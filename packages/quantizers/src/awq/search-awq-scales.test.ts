import { dequantize, parseWeightFormat, quantizeAbsMax, weightFormatName } from "@kvant/formats";
import { expect, test } from "vitest";
import { normals, plainGram, plainProduct, plainTranspose } from "../../test/random-matrices.ts";
import { uniforms } from "../uniforms.ts";
import { divideColumns, scaleColumns } from "./fold-scales.ts";
import { searchAwqScales } from "./search-awq-scales.ts";

const seed = 44_001;

function meanMagnitude(x: Float32Array, tokens: number, cols: number): Float32Array {
  return Float32Array.from({ length: cols }, (_, col) => {
    let sum = 0;
    for (let token = 0; token < tokens; token++) sum += Math.abs(x[token * cols + col]!);
    return sum / tokens;
  });
}

test(`planted outlier channels cost less than a third of round to nearest (seed ${seed})`, () => {
  const [rows, cols, tokens] = [32, 128, 200];
  const x = normals(seed, tokens * cols).map((value, i) => (i % cols === 5 || i % cols === 77 ? value * 50 : value));
  const linears = [{ values: normals(seed + 1, rows * cols), rows }];
  const request = {
    linears,
    cols,
    activationMagnitude: meanMagnitude(x, tokens, cols),
    gram: plainGram(x, tokens, cols),
    weightFormat: parseWeightFormat("int4-channel"),
  };
  const { scales, ratio, lossBefore, lossAfter, losses } = searchAwqScales(request);
  expect(lossAfter).toBeLessThan(lossBefore / 3);
  expect(ratio).toBeGreaterThan(0);
  expect(losses).toHaveLength(20);
  expect(Math.min(...losses)).toBe(lossAfter);
  expect(scales[5]!).toBeGreaterThan(scales[6]!);
  expect(Math.max(...scales) * Math.min(...scales)).toBeCloseTo(1, 5);

  // The loss is that of the outputs, of weights that are scaled, quantized and used with divided inputs.
  const scaled = scaleColumns(linears[0]!.values, rows, cols, scales);
  const weights = dequantize(quantizeAbsMax(scaled, rows, cols, request.weightFormat));
  const inputs = divideColumns(x, tokens, cols, scales);
  const quantized = plainProduct(inputs, plainTranspose(weights, rows, cols), tokens, cols, rows);
  const exact = plainProduct(x, plainTranspose(linears[0]!.values, rows, cols), tokens, cols, rows);
  const loss = exact.reduce((sum, each, i) => sum + (each - quantized[i]!) ** 2, 0);
  expect(lossAfter / loss).toBeCloseTo(1, 3); // scales are float32
});

test(`the search never loses, over formats, several layers and dead channels (seed ${seed})`, () => {
  const uniform = uniforms(seed);
  for (const name of ["int4-tensor", "int4-g32", "int4-g64-affine", "fp4-g32", "mxfp4", "nvfp4", "e4m3-channel"]) {
    const cols = 40 + Math.floor(uniform() * 60);
    const x = normals(seed + cols, 30 * cols).map((value, i) => (i % cols === 3 ? 0 : value * 1.1 ** (i % cols)));
    const linears = [4, 7].map((rows) => ({ values: normals(seed + rows, rows * cols), rows }));
    const weightFormat = parseWeightFormat(name);
    const activationMagnitude = meanMagnitude(x, 30, cols);
    const gram = plainGram(x, 30, cols);
    const { scales, lossBefore, lossAfter } = searchAwqScales({
      linears,
      cols,
      activationMagnitude,
      gram,
      weightFormat,
    });
    expect(lossAfter, weightFormatName(weightFormat)).toBeLessThanOrEqual(lossBefore);
    expect(scales[3]).toBe(1);
    expect(scales.every((scale) => scale > 0 && scale < Infinity)).toBe(true);
  }
});

test("ratio 0 is round to nearest with scales of exactly 1", () => {
  const { scales, ratio, lossBefore, lossAfter } = searchAwqScales({
    linears: [{ values: new Float32Array([7, 3, 1]), rows: 1 }],
    cols: 3,
    activationMagnitude: new Float32Array([1, 20, 0]),
    gram: new Float64Array([1, 0, 0, 0, 400, 0, 0, 0, 0]),
    weightFormat: parseWeightFormat("int4-tensor"),
  });
  expect([ratio, lossBefore, lossAfter]).toEqual([0, 0, 0]);
  expect([...scales]).toEqual([1, 1, 1]);
});

test("channels with one source get one scale", () => {
  const { scales, ratio } = searchAwqScales({
    linears: [{ values: normals(seed, 8 * 4), rows: 8 }],
    cols: 4,
    activationMagnitude: new Float32Array([90, 1, 10, 1]),
    gram: new Float64Array([8100, 0, 0, 0, 0, 1, 0, 0, 0, 0, 100, 0, 0, 0, 0, 1]),
    weightFormat: parseWeightFormat("int4-channel"),
    source: new Int32Array([0, 1, 0, 1]),
  });
  expect(ratio).toBeGreaterThan(0);
  expect(scales[0]).toBe(scales[2]);
  expect(scales[1]).toBe(scales[3]);
});

test("operands that do not fit are refused", () => {
  const request = {
    linears: [{ values: new Float32Array(4), rows: 2 }],
    cols: 2,
    activationMagnitude: new Float32Array([1, 1]),
    gram: new Float64Array(4),
    weightFormat: parseWeightFormat("int4-channel"),
  };
  expect(() => searchAwqScales({ ...request, cols: 3 })).toThrow("2 magnitudes and 4 sums do not go with 3 columns");
  expect(() => searchAwqScales({ ...request, gridSteps: 0 })).toThrow("gridSteps");
  const activationMagnitude = new Float32Array([1, Number.NaN]);
  expect(() => searchAwqScales({ ...request, activationMagnitude })).toThrow("not NaN");
});
