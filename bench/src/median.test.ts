import { expect, test } from "vitest";
import { median, percentile } from "./median.ts";

test("the median is the middle value, or the mean of the two middle ones", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

test("a percentile is the nearest rank, as in one hundred values", () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect([0, 1, 50, 99, 100].map((percent) => percentile(values, percent))).toEqual([1, 1, 50, 99, 100]);
  expect(percentile([7, 5], 50)).toBe(5);
  expect(percentile([7, 5], 51)).toBe(7);
});
