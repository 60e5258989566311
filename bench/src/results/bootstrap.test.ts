import { expect, test } from "vitest";
import { percentiles } from "../percentiles.ts";
import { RandomSource } from "../workload/random-source.ts";
import { ratioInterval, resampled, shareDifferenceInterval } from "./bootstrap.ts";

const median = { kind: "percentile", percent: 50 } as const;
const mean = { kind: "mean" } as const;

test("the mean of resamples has the values' mean, and the variance of a mean where values are independent", () => {
  const random = new RandomSource(1, "test");
  const values = Array.from({ length: 1000 }, () => random.exponential());
  const average = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - average) ** 2, 0) / values.length;
  const [means] = resampled(values, [mean], 4000, random);
  const center = means!.reduce((sum, value) => sum + value, 0) / means!.length;
  const spread = means!.reduce((sum, value) => sum + (value - center) ** 2, 0) / means!.length;
  expect(center).toBeCloseTo(average, 2);
  expect(spread / (variance / values.length)).toBeGreaterThan(0.8);
  expect(spread / (variance / values.length)).toBeLessThan(1.2);
});

test("a percentile of a resample is one of its values, as by sorting it", () => {
  const values = [5, 1, 4, 1, 3];
  // One stretch of two, one of two, one of one; drawn here once more with the same numbers.
  const drawn = new RandomSource(3, "test");
  const sample = [2, 2, 1].flatMap((length) => {
    const start = drawn.below(5);
    return Array.from({ length }, (_, i) => values[(start + i) % 5]!);
  });
  const percents = [0, 20, 50, 99, 100];
  const statistics = percents.map((percent) => ({ kind: "percentile", percent }) as const);
  const results = resampled(values, statistics, 1, new RandomSource(3, "test"));
  expect(results.map(([value]) => value)).toEqual(percentiles(sample, percents));
});

test("intervals of a ratio of medians hold the truth 95 times in 100", () => {
  const random = new RandomSource(7, "coverage");
  const lognormal = (scale: number): number[] =>
    Array.from({ length: 80 }, () => scale * Math.exp(0.5 * random.normal()));
  let held = 0;
  const trials = 400;
  for (let trial = 0; trial < trials; trial++) {
    const [before, after] = [lognormal(1), lognormal(1.25)].map(
      (values) => resampled(values, [median], 400, random)[0]!,
    );
    const { low, high } = ratioInterval(before!, after!);
    if (low <= 0.25 && 0.25 <= high) held++;
  }
  // Three standard errors of 400 trials are 3.3 %.
  expect(held / trials).toBeGreaterThan(0.91);
  expect(held / trials).toBeLessThan(0.99);
});

test("values that depend on their neighbours give an interval wider than single draws would", () => {
  const random = new RandomSource(11, "neighbours");
  let state = 0;
  const series = Array.from({ length: 2000 }, () => {
    state = 0.9 * state + random.normal();
    return state;
  });
  const shuffled = [...series].map((value) => [random.uniform(), value] as const).sort(([a], [b]) => a - b);
  const spread = (values: readonly number[]): number => {
    const [low, high] = percentiles(resampled(values, [mean], 1000, random)[0]!, [2.5, 97.5]);
    return high! - low!;
  };
  expect(spread(series)).toBeGreaterThan(2 * spread(shuffled.map(([, value]) => value)));
});

test("the interval of a difference of shares is that of Newcombe's paper", () => {
  // Table II of the paper, method 10: 56 of 70 less 48 of 80, and 10 of 10 less 0 of 20.
  const { low, high } = shareDifferenceInterval({ count: 48, of: 80 }, { count: 56, of: 70 });
  expect([low, high].map((value) => value.toFixed(4))).toEqual(["0.0524", "0.3339"]);
  const extreme = shareDifferenceInterval({ count: 0, of: 20 }, { count: 10, of: 10 });
  expect([extreme.low, extreme.high].map((value) => value.toFixed(4))).toEqual(["0.6791", "1.0000"]);
});
