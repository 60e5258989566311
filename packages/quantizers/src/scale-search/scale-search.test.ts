import {
  dequantize,
  encodeWithScales,
  forEachScale,
  formats,
  type Granularity,
  parseWeightFormat,
  type QuantizedTensor,
  quantizeAbsMax,
  type WeightFormat,
  weightFormats,
} from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { codeGrid } from "../grid/code-grid.ts";
import { quantizationError, quantizeWeight } from "../index.ts";
import { squaredError } from "./squared-error.ts";

const seed = 4_242;
const methods = ["percentile", "mse", "entropy"] as const;
const scaled = [...weightFormats].filter(([, { granularity }]) => granularity !== undefined);
/** `entropy` leaves formats with 8-bit scales to the others. */
const suits = (method: string, { scaleFormat }: WeightFormat) => method !== "entropy" || scaleFormat === undefined;
const pairs = methods.flatMap((method) =>
  scaled.filter(([, each]) => suits(method, each)).map(([name, weightFormat]) => ({ method, name, weightFormat })),
);

/** Roughly normal values of which one in 211 is ten times as large. */
function weightsWithOutliers(count: number): Float32Array {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return Float32Array.from({ length: count }, (_, i) => {
    const value = uniform() + uniform() + uniform() + uniform();
    return value * (i % 211 === 100 ? 10 : 1);
  });
}

const [rows, cols] = [150, 333];
const weights = weightsWithOutliers(rows * cols);

/** Squared error per scale. */
function groupErrors(values: Float32Array, tensor: QuantizedTensor): number[] {
  const errors: number[] = [];
  const back = dequantize(tensor);
  const differences = values.map((_, i) => i);
  forEachScale(tensor.weightFormat.granularity!, [tensor.rows, tensor.cols], differences, (_, members, start, end) => {
    errors.push([...members.subarray(start, end)].reduce((sum, i) => sum + (values[i]! - back[i]!) ** 2, 0));
  });
  return errors;
}

const decibels = (method: string, name: string, options = {}) =>
  quantizationError(weights, quantizeWeight(method, weights, rows, cols, parseWeightFormat(name), options))
    .sqnrDecibels;

describe.each(pairs)("$method to $name", ({ method, weightFormat }) => {
  test("keeps zeros, and matrices without rows or columns", () => {
    for (const [r, c] of [
      [3, 40],
      [0, 7],
      [7, 0],
      [0, 0],
    ] as const) {
      const tensor = quantizeWeight(method, new Float32Array(r * c), r, c, weightFormat);
      const { codes, scales } = quantizeAbsMax(new Float32Array(r * c), r, c, weightFormat);
      expect(tensor.scales).toHaveLength(scales.length);
      expect(tensor.codes).toEqual(codes);
      expect(dequantize(tensor)).toEqual(new Float32Array(r * c));
    }
  });

  test("brings constant channels back as AbsMax does or better, also beside a row of zeros", () => {
    const values = Float32Array.from({ length: 3 * 40 }, (_, i) => [0, 0.3, -7][Math.floor(i / 40)]!);
    const error = (tensor: QuantizedTensor) => quantizationError(values, tensor).relativeError;
    const tensor = quantizeWeight(method, values, 3, 40, weightFormat);
    expect(dequantize(tensor).subarray(0, 40)).toEqual(new Float32Array(40));
    expect(error(tensor)).toBeLessThanOrEqual(error(quantizeAbsMax(values, 3, 40, weightFormat)) + 1e-7);
  });
});

describe.each(scaled)("mse to %s", (_, weightFormat) => {
  test(`has in no group a larger squared error than AbsMax (seed ${seed})`, () => {
    const values = weights.subarray(0, 60 * cols);
    const found = groupErrors(values, quantizeWeight("mse", values, 60, cols, weightFormat));
    const absmax = groupErrors(values, quantizeAbsMax(values, 60, cols, weightFormat));
    expect(found.findIndex((error, i) => error > absmax[i]!)).toBe(-1);
    const sum = (errors: number[]) => errors.reduce((total, each) => total + each, 0);
    expect(sum(found)).toBeLessThanOrEqual(sum(absmax));
    // Where codes are few, some range is better than the whole one.
    if (formats[weightFormat.format].bits <= 4) expect(sum(found)).toBeLessThan(0.99 * sum(absmax));
  });
});

test.each(["int8-tensor", "int4-tensor", "int3-tensor", "int2-tensor", "fp4-tensor"])(
  `mse to %s is within 2 %% of the best of 2,000 scales (seed ${seed})`,
  (name) => {
    const values = weights.subarray(0, 2000);
    const weightFormat = parseWeightFormat(name);
    const full = quantizeAbsMax(values, 1, 2000, weightFormat).scales[0]!;
    let best = Infinity;
    for (let step = 1; step <= 2000; step++) {
      const tensor = encodeWithScales(values, 1, 2000, weightFormat, Float32Array.of((full * step) / 2000), undefined);
      best = Math.min(best, quantizationError(values, tensor).relativeError);
    }
    const found = quantizationError(values, quantizeWeight("mse", values, 1, 2000, weightFormat)).relativeError;
    expect(found / best).toBeLessThan(1.02);
  },
);

test.each(scaled)(
  `the error that a search compares is that of the quantized matrix in %s (seed ${seed})`,
  (_, weightFormat) => {
    const values = weights.subarray(0, 128);
    const { scales, zeroPoints } = quantizeAbsMax(values, 1, 128, weightFormat);
    for (const ratio of [1, 0.3]) {
      const smaller = scales.map((scale) => scale * ratio);
      const tensor = encodeWithScales(values, 1, 128, weightFormat, smaller, zeroPoints);
      const grid = codeGrid(weightFormat, 1);
      const errors = groupErrors(values, tensor);
      const positions = values.map((_, i) => i);
      forEachScale(weightFormat.granularity!, [1, 128], positions, (index, __, start, end) => {
        const scale = { scale: smaller[index]!, zeroPoint: zeroPoints?.[index] ?? 0 };
        expect(squaredError(grid, scale, values, start, end, Infinity)).toBe(errors[index]);
      });
    }
  },
);

test("an affine range is clipped at the end where the outlier is, and not at the other", () => {
  const values = Float32Array.from({ length: 20_000 }, (_, i) => Math.sin(i * i));
  values[100] = 4;
  const { scales, zeroPoints } = quantizeWeight("mse", values, 1, 20_000, parseWeightFormat("int4-tensor-affine"));
  const [low, high] = [-8, 7].map((code) => (code - zeroPoints![0]!) * scales[0]!);
  expect(low).toBeLessThan(-0.8);
  expect(high).toBeLessThan(2);
});

test("percentile reaches as far as the interpolated percentile of the magnitudes", () => {
  const values = Float32Array.from({ length: 101 }, (_, i) => (i % 2 === 0 ? i : -i));
  const scaleOf = (percentile: number) =>
    quantizeWeight("percentile", values, 1, 101, parseWeightFormat("int8-tensor"), { percentile }).scales[0]!;
  expect(scaleOf(90)).toBe(Math.fround(90 / 127));
  expect(scaleOf(99.5)).toBe(Math.fround(99.5 / 127));
  expect(scaleOf(100)).toBe(Math.fround(100 / 127));
});

test("percentile leaves as much out below an affine range as above it", () => {
  const values = Float32Array.from({ length: 201 }, (_, i) => i - 100);
  const tensor = quantizeWeight("percentile", values, 1, 201, parseWeightFormat("int8-tensor-affine"), {
    percentile: 90,
  });
  expect(tensor.scales[0]).toBeCloseTo(180 / 255, 6);
  expect(quantizationError(values, tensor).largestError).toBeCloseTo(10, 0);
});

test("percentile keeps the range where nearly all values are zero", () => {
  const values = new Float32Array(1000);
  values[3] = 2;
  for (const name of ["int8-tensor", "int8-tensor-affine"]) {
    const tensor = quantizeWeight("percentile", values, 1, 1000, parseWeightFormat(name), { percentile: 90 });
    expect(dequantize(tensor)[3]).toBeCloseTo(2, 5);
  }
});

test(`what a few outliers cost a tensor of 4 bits, every search gets back in part (seed ${seed})`, () => {
  for (const method of methods) {
    const options = method === "percentile" ? { percentile: 99.5 } : {};
    expect(decibels(method, "int4-tensor", options)).toBeGreaterThan(decibels("absmax", "int4-tensor") + 4);
  }
  expect(decibels("mse", "int4-tensor")).toBeGreaterThan(decibels("entropy", "int4-tensor"));
});

test("entropy keeps the range of evenly spread values and of groups too small for a histogram", () => {
  const even = Float32Array.from({ length: 40_000 }, (_, i) => (i % 2 === 0 ? i : -i));
  const tensor = parseWeightFormat("int4-tensor");
  const [found, absmax] = [quantizeWeight("entropy", even, 1, 40_000, tensor), quantizeAbsMax(even, 1, 40_000, tensor)];
  expect(found.scales[0]! / absmax.scales[0]!).toBeGreaterThan(0.95);
  const groups = parseWeightFormat("int4-g32");
  expect(quantizeWeight("entropy", weights, rows, cols, groups)).toEqual(quantizeAbsMax(weights, rows, cols, groups));
});

test.each(["mxfp4", "mxfp8", "nvfp4"])("entropy says why it does not choose the scales of %s", (name) => {
  const quantize = () => quantizeWeight("entropy", weights, rows, cols, parseWeightFormat(name));
  expect(quantize).toThrow(`${name} has a scale per 16 or 32 values, too few for the histogram`);
});

test.each(["mxfp4", "mxfp8"])("mse gives %s scales that are powers of two", (name) => {
  const { scales } = quantizeWeight("mse", weights, rows, cols, parseWeightFormat(name));
  expect([...scales].every((scale) => Number.isInteger(Math.log2(scale)))).toBe(true);
});

test.each(methods)("%s takes scales along the columns and over tiles of any size", (method) => {
  for (const granularity of [
    { kind: "channel", axis: 1 },
    { kind: "tile", rows: 64, cols: 50 },
    { kind: "group", size: 48 },
  ] satisfies Granularity[]) {
    const tensor = quantizeWeight(method, weights, rows, cols, { format: "int8", granularity, affine: false });
    expect(quantizationError(weights, tensor).relativeError).toBeLessThan(0.1);
  }
});

test("options outside their bounds are refused", () => {
  const int8 = parseWeightFormat("int8");
  for (const percentile of [50, 100.1, NaN]) {
    expect(() => quantizeWeight("percentile", weights, rows, cols, int8, { percentile })).toThrow(
      `percentile is a number above 50 and up to 100, not ${percentile}`,
    );
  }
  expect(() => quantizeWeight("mse", weights, rows, cols, int8, { smallestRatio: 0 })).toThrow("above 0 and up to 1");
  expect(() => quantizeWeight("entropy", weights, rows, cols, int8, { histogramBins: 5 })).toThrow("above 127");
});
