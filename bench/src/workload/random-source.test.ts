import { describe, expect, test } from "vitest";
import { RandomSource } from "./random-source.ts";
import {
  exponentialCumulative,
  gammaCumulative,
  kolmogorovCritical,
  kolmogorovStatistic,
  normalCumulative,
} from "./testing/kolmogorov-smirnov.ts";
import { testSeed } from "./testing/seed.ts";

const count = 20_000;
const draws = (random: RandomSource, draw: (random: RandomSource) => number) =>
  Array.from({ length: count }, () => draw(random));

test("the values are those of the formula of sfc32", () => {
  // After fifteen rounds from (1, 0xb3711c47 = FNV-1a of "check", 2, counter 1), by PractRand's formula in Python.
  const random = new RandomSource(1, "check", 2);
  expect(Array.from({ length: 3 }, () => random.uniform())).toEqual([
    0.46539837531395645, 0.5063769580750069, 0.039514086555006656,
  ]);
});

test("the same seed, stream and number give the same values, and any other gives others", () => {
  const first = (random: RandomSource) => Array.from({ length: 4 }, () => random.uniform());
  const reference = first(new RandomSource(7, "prompts", 3));
  expect(first(new RandomSource(7, "prompts", 3))).toEqual(reference);
  for (const other of [
    new RandomSource(8, "prompts", 3),
    new RandomSource(7, "lengths", 3),
    new RandomSource(7, "prompts", 4),
  ]) {
    expect(new Set([...first(other), ...reference]).size).toBe(8);
  }
});

describe(`values follow their distribution (seed ${testSeed})`, () => {
  test.each([
    ["uniform", (random: RandomSource) => random.uniform(), (value: number) => value],
    ["exponential", (random: RandomSource) => random.exponential(), exponentialCumulative(1)],
    ["normal", (random: RandomSource) => random.normal(), normalCumulative],
    ["gamma of shape 0.2", (random: RandomSource) => random.gamma(0.2), gammaCumulative(0.2)],
    ["gamma of shape 1", (random: RandomSource) => random.gamma(1), exponentialCumulative(1)],
    ["gamma of shape 5", (random: RandomSource) => random.gamma(5), gammaCumulative(5)],
  ])("%s", (_, draw, cumulative) => {
    const values = draws(new RandomSource(testSeed, "test"), draw);
    expect(kolmogorovStatistic(values, cumulative)).toBeLessThan(kolmogorovCritical);
  });

  test("the test statistic refuses a distribution that is a little off", () => {
    const values = draws(new RandomSource(testSeed, "test"), (random) => random.gamma(1.1) / 1.1);
    expect(kolmogorovStatistic(values, exponentialCumulative(1))).toBeGreaterThan(kolmogorovCritical);
  });
});

test(`streams of neighbouring numbers do not follow each other (seed ${testSeed})`, () => {
  // The first value of each stream, as prefix families and hashed pieces use them.
  const values = Array.from({ length: count }, (_, number) => new RandomSource(testSeed, "piece", number).uniform());
  expect(kolmogorovStatistic(values, (value) => value)).toBeLessThan(kolmogorovCritical);
  // The correlation of neighbours has the deviation 1 / sqrt(count); four of them.
  const products = values.slice(1).map((value, i) => (value - 0.5) * (values[i]! - 0.5) * 12);
  const correlation = products.reduce((sum, product) => sum + product, 0) / products.length;
  expect(Math.abs(correlation)).toBeLessThan(4 / Math.sqrt(count));
});

test("a whole number below n is evenly drawn and never n", () => {
  const random = new RandomSource(testSeed, "test");
  const counts = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const value = random.below(5);
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  expect([...counts.keys()].sort()).toEqual([0, 1, 2, 3, 4]);
  // Four deviations of a binomial count.
  for (const each of counts.values()) expect(Math.abs(each - count / 5)).toBeLessThan(4 * Math.sqrt(count * 0.16));
});
