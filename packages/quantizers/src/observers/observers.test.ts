import { describe, expect, test } from "vitest";
import { normals } from "../../test/random-matrices.ts";
import { binRelativeWidth, Log2Histogram } from "./log2-histogram.ts";
import {
  activationObservers,
  minMaxObserver,
  movingAverageObserver,
  mseObserver,
  percentileObserver,
} from "./observers.ts";

const seed = 47_001;
const values = normals(seed, 20_000).map((value, i) => value * (i % 1000 === 0 ? 30 : 1));
const sorted = values.map(Math.abs).sort();

describe("a histogram of magnitudes", () => {
  test(`finds quantiles within a bin of the sorted values (seed ${seed})`, () => {
    const histogram = new Log2Histogram();
    histogram.add(values);
    for (const fraction of [0.001, 0.1, 0.5, 0.9, 0.999, 0.9999, 1]) {
      const exact = sorted[Math.ceil(fraction * sorted.length) - 1]!;
      const found = histogram.quantile(fraction);
      expect(found).toBeGreaterThanOrEqual(exact);
      expect(found).toBeLessThanOrEqual(exact * (1 + binRelativeWidth));
    }
    expect(histogram.largest).toBe(sorted.at(-1));
  });

  test("of two halves merges to that of both", () => {
    const [whole, first, second] = [new Log2Histogram(), new Log2Histogram(), new Log2Histogram()];
    whole.add(values);
    first.add(values.subarray(0, 700));
    second.add(values.subarray(700));
    first.merge(second);
    const binsOf = (histogram: Log2Histogram) => {
      const bins: number[][] = [];
      histogram.forEachBin((...bin) => bins.push(bin));
      return bins;
    };
    expect(binsOf(first)).toEqual(binsOf(whole));
    expect([first.count, first.largest]).toEqual([whole.count, whole.largest]);
  });

  test("counts every magnitude in the bin that contains it, zero and the ends of float32 too", () => {
    for (const magnitude of [0, 2 ** -149, 1e-40, 2 ** -126, 0.999, 1, 65504, (2 - 2 ** -23) * 2 ** 127]) {
      const histogram = new Log2Histogram();
      histogram.add(new Float32Array([-magnitude]));
      histogram.forEachBin((lower, upper, count) => {
        expect(count).toBe(1);
        expect(lower).toBeLessThanOrEqual(Math.fround(magnitude));
        expect(upper).toBeGreaterThan(Math.fround(magnitude));
      });
      expect(histogram.quantile(0.5)).toBe(Math.fround(magnitude));
    }
    expect(new Log2Histogram().quantile(0.5)).toBe(0);
    expect(() => new Log2Histogram().add(new Float32Array([1, Infinity]))).toThrow("activation 1 is Infinity");
  });
});

test("the min-max observer keeps the largest magnitude of all", () => {
  const observer = minMaxObserver();
  observer.observe(new Float32Array([1, -254]), 1, 2);
  observer.observe(new Float32Array([100, 3]), 2, 1);
  expect(observer.scale("int8")).toBe(2);
  expect(observer.scale("e4m3")).toBe(Math.fround(254 / 448));
  expect(observer.scale("e5m2")).toBe(Math.fround(254 / 57344));
});

test("the moving average begins with its first batch", () => {
  const observer = movingAverageObserver(0.75);
  observer.observe(new Float32Array([127]), 1, 1);
  expect(observer.scale("int8")).toBe(1);
  observer.observe(new Float32Array([-5 * 127]), 1, 1);
  expect(observer.scale("int8")).toBe(2);
});

test(`the percentile observer is within a bin of the sorted values (seed ${seed})`, () => {
  const observer = percentileObserver(99.9);
  observer.observe(values.subarray(0, 8000), 80, 100);
  observer.observe(values.subarray(8000), 120, 100);
  const exact = sorted[Math.ceil(0.999 * sorted.length) - 1]! / 127;
  expect(observer.scale("int8")).toBeGreaterThanOrEqual(Math.fround(exact));
  expect(observer.scale("int8")).toBeLessThanOrEqual(exact * (1 + binRelativeWidth));
  expect(observer.histogram.count).toBe(20_000);
});

test(`the observer of squared errors is as good as any clip (seed ${seed})`, () => {
  const observer = mseObserver();
  observer.observe(values, 200, 100);
  const errorOf = (scale: number) => {
    let sum = 0;
    for (const value of values) sum += (value - scale * Math.max(-127, Math.min(127, Math.round(value / scale)))) ** 2;
    return sum;
  };
  const largest = sorted.at(-1)! / 127;
  let least = Infinity;
  for (let step = 0; step < 100; step++) least = Math.min(least, errorOf(largest * 0.95 ** step));
  const found = errorOf(observer.scale("int8"));
  expect(found).toBeLessThan(1.02 * least); // the search's steps are 4.4 %, and values count as their bins
  expect(found).toBeLessThan(errorOf(largest));
});

describe.each(Object.entries(activationObservers))("the %s observer", (_, create) => {
  test("gives zeros the scale 1, and nothing at all none", () => {
    const observer = create();
    observer.observe(new Float32Array(0), 0, 4);
    expect(() => observer.scale("int8")).toThrow("at least one observed activation");
    observer.observe(new Float32Array(4), 1, 4);
    expect(observer.scale("int8")).toBe(1);
  });

  test("refuses what is not finite and what has another shape", () => {
    const observer = create();
    expect(() => observer.observe(new Float32Array([0, 1, Number.NaN, 0]), 2, 2)).toThrow(
      "token 1 in channel 0 is NaN",
    );
    expect(() => observer.observe(new Float32Array(3), 2, 2)).toThrow("3 activations are not [2, 2]");
  });

  test("gives the same scale for the same batches", () => {
    const scaleOf = () => {
      const observer = create();
      observer.observe(values.subarray(0, 300), 3, 100);
      observer.observe(values.subarray(300, 900), 6, 100);
      return observer.scale("e4m3");
    };
    expect(scaleOf()).toBe(scaleOf());
  });
});

test("parameters outside their range are refused", () => {
  for (const momentum of [-0.1, 1, Number.NaN]) expect(() => movingAverageObserver(momentum)).toThrow("a momentum");
  for (const percentile of [0, 100.1, Number.NaN]) expect(() => percentileObserver(percentile)).toThrow("a percentile");
});
