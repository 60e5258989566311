import { describe, expect, test } from "vitest";
import {
  type ArrivalPattern,
  type ArrivalRate,
  arrivalTimes,
  describeArrivals,
  parseArrivalPattern,
} from "./arrivals.ts";
import { RandomSource } from "./random-source.ts";
import {
  exponentialCumulative,
  gammaCumulative,
  kolmogorovCritical,
  kolmogorovStatistic,
} from "./testing/kolmogorov-smirnov.ts";
import { testSeed } from "./testing/seed.ts";
import { take } from "./testing/take.ts";

const count = 20_000;

function times(pattern: ArrivalPattern, rate: ArrivalRate, length = count): number[] {
  return take(arrivalTimes(pattern, rate, new RandomSource(testSeed, "arrivals")), length);
}

const gapsOf = (values: readonly number[]) => values.map((value, i) => value - (values[i - 1] ?? 0));

test("a constant rate is even from the start of the load on", () => {
  expect(times({ kind: "constant" }, { kind: "fixed", rate: 4 }, 5)).toEqual([0, 0.25, 0.5, 0.75, 1]);
});

describe(`random arrivals (seed ${testSeed})`, () => {
  test("gaps of a Poisson process are exponential and do not depend on each other", () => {
    const gaps = gapsOf(times({ kind: "poisson" }, { kind: "fixed", rate: 8 }));
    expect(kolmogorovStatistic(gaps, exponentialCumulative(1 / 8))).toBeLessThan(kolmogorovCritical);
    const products = gaps.slice(1).map((gap, i) => (gap * 8 - 1) * (gaps[i]! * 8 - 1));
    const correlation = products.reduce((sum, product) => sum + product, 0) / products.length;
    expect(Math.abs(correlation)).toBeLessThan(4 / Math.sqrt(count));
  });

  test.each([0.25, 1, 4])(
    "gaps of gamma arrivals of burstiness %d have its shape, mean and variation",
    (burstiness) => {
      const rate = 5;
      const gaps = gapsOf(times({ kind: "gamma", burstiness }, { kind: "fixed", rate }));
      const cumulative = gammaCumulative(burstiness);
      const statistic = kolmogorovStatistic(gaps, (gap) => cumulative(gap * rate * burstiness));
      expect(statistic).toBeLessThan(kolmogorovCritical);
      const mean = gaps.reduce((sum, gap) => sum + gap, 0) / count;
      const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / (count - 1));
      const variation = 1 / Math.sqrt(burstiness);
      // Four deviations of the mean; the variation's own error is within 5 % for kurtosis up to that of shape 1/4.
      expect(Math.abs(mean * rate - 1)).toBeLessThan((4 * variation) / Math.sqrt(count));
      expect(deviation / mean / variation).toBeGreaterThan(0.95);
      expect(deviation / mean / variation).toBeLessThan(1.05);
    },
  );

  test("a Poisson ramp has the rate's integral as its clock", () => {
    const [from, to, seconds] = [2, 30, 600];
    const arrivals = times({ kind: "poisson" }, { kind: "ramp", from, to, seconds }).filter((t) => t < seconds);
    const clock = arrivals.map((t) => from * t + ((to - from) * t ** 2) / (2 * seconds));
    expect(kolmogorovStatistic(gapsOf(clock), exponentialCumulative(1))).toBeLessThan(kolmogorovCritical);
    const expected = ((from + to) / 2) * seconds;
    expect(Math.abs(arrivals.length - expected)).toBeLessThan(4 * Math.sqrt(expected));
  });

  test("times ascend", () => {
    for (const pattern of [{ kind: "poisson" }, { kind: "gamma", burstiness: 0.05 }] as const) {
      expect(gapsOf(times(pattern, { kind: "fixed", rate: 1000 })).every((gap) => gap >= 0)).toBe(true);
    }
  });
});

test.each([
  ["up from nothing", 0, 10],
  ["down to nothing", 10, 0],
  ["that is level", 5, 5],
])("a constant ramp %s has its n-th request where the rate's integral is n", (_, from, to) => {
  const seconds = 8;
  const arrivals = times({ kind: "constant" }, { kind: "ramp", from, to, seconds }, 40);
  expect(arrivals).toHaveLength(40);
  for (const [n, t] of arrivals.entries()) {
    expect(from * t + ((to - from) * t ** 2) / (2 * seconds)).toBeCloseTo(n, 9);
  }
});

test("a ramp that is delayed keeps its first rate until then", () => {
  const delayed = { kind: "ramp", from: 2, to: 6, seconds: 4, delaySeconds: 3 } as const;
  const arrivals = times({ kind: "constant" }, delayed, 30);
  expect(arrivals.slice(0, 7)).toEqual([0, 0.5, 1, 1.5, 2, 2.5, 3]);
  const alone = times({ kind: "constant" }, { kind: "ramp", from: 2, to: 6, seconds: 4 }, 24);
  for (const [i, at] of arrivals.slice(6).entries()) expect(at).toBeCloseTo(3 + alone[i]!, 9);
  expect(times({ kind: "constant" }, { ...delayed, from: 0 }, 2)[0]).toBe(3);
  expect(describeArrivals({ kind: "constant" }, delayed)).toBe("2 to 6 requests/s over 4 s after 3 s at 2, constant");
});

test("after its end a ramp stays as it is then, and ends where that is nothing", () => {
  const rising = times({ kind: "constant" }, { kind: "ramp", from: 0, to: 4, seconds: 2 }, 8);
  expect(rising.slice(4)).toEqual([2, 2.25, 2.5, 2.75]);
  expect(times({ kind: "constant" }, { kind: "ramp", from: 4, to: 0, seconds: 2 })).toHaveLength(4);
});

test("patterns are read from text", () => {
  expect(parseArrivalPattern("constant")).toEqual({ kind: "constant" });
  expect(parseArrivalPattern("poisson")).toEqual({ kind: "poisson" });
  expect(parseArrivalPattern("gamma:0.5")).toEqual({ kind: "gamma", burstiness: 0.5 });
});

test.each(["", "gamma", "gamma:", "gamma:0", "gamma:-1", "gamma:1e3", "uniform", "Poisson"])(
  "%j is no pattern of arrivals",
  (text) => {
    expect(() => parseArrivalPattern(text)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", field: "arrival" }),
    );
    expect(() => parseArrivalPattern(text)).toThrow(JSON.stringify(text));
  },
);

test("arrivals are described in a few words", () => {
  expect(describeArrivals({ kind: "poisson" }, { kind: "fixed", rate: 4 })).toBe("4 requests/s, poisson");
  const ramp = { kind: "ramp", from: 1, to: 10, seconds: 60 } as const;
  expect(describeArrivals({ kind: "gamma", burstiness: 0.5 }, ramp)).toBe(
    "1 to 10 requests/s over 60 s, gamma of burstiness 0.5",
  );
});
