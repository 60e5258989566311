import { expect, test } from "vitest";
import { percentiles } from "../percentiles.ts";
import { LatencyHistogram } from "./latency-histogram.ts";

/** Three significant digits, and the half microsecond that a value is rounded by. */
const tolerance = (seconds: number) => seconds * 1e-3 + 5.1e-7;

function spread(seed: number, count: number): number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (state * 48271) % 2147483647;
    // From a tenth of a microsecond to an hour, evenly in the exponent.
    return 1e-7 * (3600 / 1e-7) ** (state / 2147483647);
  });
}

test("quantiles are those of the sorted values to three digits", () => {
  const seed = 1 + Math.floor(Math.random() * 1e9);
  const values = spread(seed, 20_000);
  const histogram = new LatencyHistogram();
  for (const value of values) histogram.record(value);
  const shares = [0, 0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1];
  const exact = percentiles(
    values,
    shares.map((share) => share * 100),
  );
  for (const [i, share] of shares.entries()) {
    const difference = Math.abs(histogram.quantile(share)! - exact[i]!);
    expect(difference, `seed ${seed}, share ${share}, ${exact[i]} s`).toBeLessThanOrEqual(tolerance(exact[i]!));
  }
  const { mean, count } = histogram.summary()!;
  expect(count).toBe(values.length);
  expect(mean).toBeCloseTo(values.reduce((sum, value) => sum + value, 0) / values.length, 6);
});

test("what is out of range is clamped and counted, never thrown", () => {
  const histogram = new LatencyHistogram();
  for (const value of [-0.5, 4000, Number.POSITIVE_INFINITY, Number.NaN]) histogram.record(value);
  expect(histogram.count).toBe(4);
  expect(histogram.clampedCount).toBe(4);
  expect(histogram.quantile(0.5)).toBe(0);
  expect(histogram.quantile(1)).toBeCloseTo(3600, -1);
});

test("a value with a count weighs as often", () => {
  const histogram = new LatencyHistogram();
  histogram.record(0.001, 99);
  histogram.record(0.005);
  histogram.record(1, 0);
  expect(histogram.count).toBe(100);
  expect(histogram.quantile(0.99)).toBeCloseTo(0.001, 6);
  expect(histogram.quantile(1)).toBeCloseTo(0.005, 5);
});

test("the cumulative distribution rises in both, ends at 1, and is bounded", () => {
  const histogram = new LatencyHistogram();
  for (const value of spread(13, 10_000)) histogram.record(value);
  const { cumulative, max } = histogram.summary()!;
  expect(cumulative.length).toBeLessThanOrEqual(201);
  expect(cumulative.at(-1)).toEqual([max, 1]);
  for (let i = 1; i < cumulative.length; i++) {
    expect(cumulative[i]![0]).toBeGreaterThan(cumulative[i - 1]![0]);
    expect(cumulative[i]![1]).toBeGreaterThan(cumulative[i - 1]![1]);
  }
});

test("without values there is nothing to summarize", () => {
  expect(new LatencyHistogram().summary()).toBeUndefined();
});
