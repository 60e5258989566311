import { expect, test } from "vitest";
import { percentiles } from "./percentiles.ts";

test("a percentile of one hundred values is the value of that rank", () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  const percents = Array.from({ length: 100 }, (_, i) => i + 1);
  expect(percentiles(values, percents)).toEqual(percents);
  expect(percentiles(values, [0, 99.1])).toEqual([1, 100]);
});

test("half of two values are at or below the smaller one, more only at or below the larger", () => {
  expect(percentiles([7, 5], [50, 51, 99])).toEqual([5, 7, 7]);
  expect(percentiles([4], [0, 50, 100])).toEqual([4, 4, 4]);
});

test("it is the smallest value with enough of the others at or below it", () => {
  const values = Float64Array.from({ length: 37 }, (_, i) => (i * 17) % 23);
  for (const percent of [1, 7, 29, 50, 58, 93, 99, 100]) {
    const [found] = percentiles(values, [percent]);
    const share = (limit: number) => (100 * values.filter((value) => value <= limit).length) / values.length;
    const enough = [...values].filter((value) => share(value) >= percent);
    expect(found).toBe(Math.min(...enough));
  }
});

test("the values are left in their order", () => {
  const values = [3, 1, 2];
  expect(percentiles(values, [50])).toEqual([2]);
  expect(values).toEqual([3, 1, 2]);
});
