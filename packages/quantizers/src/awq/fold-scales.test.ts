import { expect, test } from "vitest";
import { divideColumns, divideRows, divideVector, scaleColumns, scaleRows } from "./fold-scales.ts";
import { shareChannels } from "./shared-channels.ts";

const matrix = new Float32Array([1, 2, 3, 4, 5, 6]);

test("columns and rows are multiplied and divided by their own scale", () => {
  expect([...scaleColumns(matrix, 2, 3, new Float32Array([1, 2, 4]))]).toEqual([1, 4, 12, 4, 10, 24]);
  expect([...divideColumns(matrix, 2, 3, new Float32Array([1, 2, 4]))]).toEqual([1, 1, 0.75, 4, 2.5, 1.5]);
  expect([...scaleRows(matrix, 2, 3, new Float32Array([2, 4]))]).toEqual([2, 4, 6, 16, 20, 24]);
  expect([...divideRows(matrix, 2, 3, new Float32Array([2, 4]))]).toEqual([0.5, 1, 1.5, 1, 1.25, 1.5]);
  expect([...divideVector(new Float32Array([3, 8]), new Float32Array([2, 4]))]).toEqual([1.5, 2]);
});

test("scales that cannot be divided by, and lengths that do not match, are refused", () => {
  for (const wrong of [0, -1, Number.NaN, Infinity]) {
    expect(() => divideVector(new Float32Array(1), new Float32Array([wrong]))).toThrow("a channel's scale is positive");
  }
  expect(() => scaleRows(matrix, 2, 3, new Float32Array(3).fill(1))).toThrow("6 values and 3 scales");
});

test("channels with one source share a mean or a maximum", () => {
  const figures = new Float32Array([1, 2, 3, 6]);
  const source = new Int32Array([0, 5, 0, 5]);
  expect([...shareChannels(figures, source, "mean")]).toEqual([2, 4, 2, 4]);
  expect([...shareChannels(figures, source, "max")]).toEqual([3, 6, 3, 6]);
  expect(() => shareChannels(figures, new Int32Array(3), "max")).toThrow("3 sources do not match 4 channels");
  expect(() => shareChannels(figures, new Int32Array([0, -1, 0, 0]), "max")).toThrow("channel 1 has source -1");
});
