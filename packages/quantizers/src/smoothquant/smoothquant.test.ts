import { parseWeightFormat } from "@kvant/formats";
import { expect, test } from "vitest";
import { normals } from "../../test/random-matrices.ts";
import { searchAlpha } from "./search-alpha.ts";
import { addColumnMaxima, smoothingScales } from "./smoothing-scales.ts";

const seed = 46_001;

test("scales are max|X|^alpha / max|W|^(1 - alpha)", () => {
  const activations = new Float32Array([16, 9, 0, 2]);
  const weights = new Float32Array([4, 1, 5, 0]);
  expect([...smoothingScales(activations, weights, 0.5)]).toEqual([2, 3, 1, 1]);
  expect([...smoothingScales(activations, weights, 1)]).toEqual([16, 9, 1, 1]);
  expect([...smoothingScales(activations, weights, 0)]).toEqual([0.25, 1, 1, 1]);
});

test("maxima over columns grow from batch to batch", () => {
  const max = new Float32Array(2);
  addColumnMaxima(new Float32Array([1, -2, -3, 1]), 2, 2, max);
  addColumnMaxima(new Float32Array([0, 5]), 1, 2, max);
  expect([...max]).toEqual([3, 5]);
  expect(() => addColumnMaxima(new Float32Array(3), 1, 2, max)).toThrow("3 values and 2 maxima");
});

test(`planted outliers cost less than a tenth of what they did (seed ${seed})`, () => {
  const [rows, cols, samples] = [48, 128, 64];
  // The outlier twin: channels times 40 whose weights are divided by 40.
  const outlier = (col: number) => col === 9 || col === 60 || col === 61;
  const activations = normals(seed, samples * cols).map((value, i) => (outlier(i % cols) ? 40 * value : value));
  const values = normals(seed + 1, rows * cols).map((value, i) => (outlier(i % cols) ? value / 40 : value));
  const linears = [{ values, rows }];
  const int8 = searchAlpha({ linears, cols, activations, samples });
  expect(int8.lossAfter).toBeLessThan(int8.lossBefore / 10);
  expect(int8.alpha).toBeDefined();
  expect(int8.scales[9]! / int8.scales[10]!).toBeGreaterThan(8);
});

test(`the search never loses, and dead channels keep scale 1 (seed ${seed})`, () => {
  const cols = 50;
  for (const [round, weightFormat] of ["int8-channel", "int4-g32", "e4m3-channel"].map(parseWeightFormat).entries()) {
    const activations = normals(seed + round, 10 * cols).map((value, i) => (i % cols === 4 ? 0 : value));
    const linears = [3, 5].map((rows) => ({
      values: normals(seed + rows, rows * cols).map((value, i) => (i % cols === 8 ? 0 : value)),
      rows,
    }));
    const activationFormat = round === 2 ? "e4m3" : "int8";
    const choice = searchAlpha({ linears, cols, activations, samples: 10, weightFormat, activationFormat });
    expect(choice.lossAfter).toBeLessThanOrEqual(choice.lossBefore);
    expect([choice.scales[4], choice.scales[8]]).toEqual([1, 1]);
  }
});

test("where nothing is lost, nothing is smoothed", () => {
  const values = new Float32Array([127, 5, -127, 1]);
  const request = { linears: [{ values, rows: 2 }], cols: 2, activations: new Float32Array([127, 3]), samples: 1 };
  expect(searchAlpha(request)).toEqual({
    alpha: undefined,
    scales: new Float32Array([1, 1]),
    lossBefore: 0,
    lossAfter: 0,
  });
});

test(`channels with one source get one scale, from maxima that were handed in (seed ${seed})`, () => {
  const choice = searchAlpha({
    linears: [{ values: normals(seed, 32), rows: 8 }],
    cols: 4,
    activations: normals(seed + 1, 40).map((value, i) => (i % 4 === 1 ? 100 * value : value)),
    activationMax: new Float32Array([3, 300, 3, 3]),
    samples: 10,
    source: new Int32Array([0, 1, 1, 0]),
  });
  expect(choice.alpha).toBeDefined();
  expect(choice.scales[1]).toBe(choice.scales[2]);
  expect(choice.scales[0]).toBe(choice.scales[3]);
});

test("operands that do not fit are refused", () => {
  const one = new Float32Array([1]);
  expect(() => smoothingScales(one, new Float32Array(2), 0.5)).toThrow("1 channels of activations do not match 2");
  expect(() => smoothingScales(one, one, 1.5)).toThrow("alpha lies between 0 and 1, not at 1.5");
  expect(() => smoothingScales(new Float32Array([Number.NaN]), one, 0.5)).toThrow("channel 0 has magnitudes NaN and 1");
  const linears = [{ values: one, rows: 1 }];
  expect(() => searchAlpha({ linears, cols: 1, activations: new Float32Array(0), samples: 0 })).toThrow("one token");
});
