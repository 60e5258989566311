import { describe, expect, test } from "vitest";
import { type Distribution, describeDistribution, drawCount, drawSeconds } from "./distribution.ts";
import { parseCounts, parseSeconds } from "./parse-distribution.ts";
import { RandomSource } from "./random-source.ts";
import {
  exponentialCumulative,
  kolmogorovCritical,
  kolmogorovStatistic,
  normalCumulative,
} from "./testing/kolmogorov-smirnov.ts";
import { testSeed } from "./testing/seed.ts";
import { temporaryFile } from "./testing/temporary-file.ts";

const count = 20_000;
const counts = (distribution: Distribution, most?: number) => {
  const random = new RandomSource(testSeed, "lengths");
  return Array.from({ length: count }, () => drawCount(distribution, random, most));
};

describe(`lengths hit their distribution (seed ${testSeed})`, () => {
  test("a uniform range has every whole number of it equally often, both ends among them", () => {
    const values = counts({ kind: "uniform", low: 3, high: 7 });
    for (const value of [3, 4, 5, 6, 7]) {
      const share = values.filter((one) => one === value).length;
      expect(Math.abs(share - count / 5)).toBeLessThan(4 * Math.sqrt(count * 0.16));
    }
    expect(new Set(values).size).toBe(5);
  });

  // Rounding to whole tokens moves the distribution function by at most the density, which is small at 10,000 tokens.
  test("normal", () => {
    const values = counts({ kind: "normal", mean: 10_000, deviation: 1000 });
    expect(kolmogorovStatistic(values, (value) => normalCumulative((value - 10_000) / 1000))).toBeLessThan(
      kolmogorovCritical,
    );
  });

  test("lognormal, by its median", () => {
    const values = counts({ kind: "lognormal", median: 10_000, sigma: 0.5 });
    const cumulative = (value: number) => normalCumulative(Math.log(value / 10_000) / 0.5);
    expect(kolmogorovStatistic(values, cumulative)).toBeLessThan(kolmogorovCritical);
  });

  test("exponential seconds", () => {
    const random = new RandomSource(testSeed, "think time");
    const values = Array.from({ length: count }, () => drawSeconds({ kind: "exponential", mean: 2 }, random));
    expect(kolmogorovStatistic(values, exponentialCumulative(2))).toBeLessThan(kolmogorovCritical);
  });

  test("lengths of a file come as often as they stand there", () => {
    const path = temporaryFile("lengths.txt", "5\n5\n5\n90\n");
    const values = counts(parseCounts(`file:${path}`, "inputTokens"));
    expect(new Set(values)).toEqual(new Set([5, 90]));
    const share = values.filter((value) => value === 90).length;
    expect(Math.abs(share - count / 4)).toBeLessThan(4 * Math.sqrt(count * 0.1875));
  });
});

test("a length is at least 1 and at most the limit, a time at least 0", () => {
  const wide = counts({ kind: "normal", mean: 5, deviation: 50 }, 40);
  expect(Math.min(...wide)).toBe(1);
  expect(Math.max(...wide)).toBe(40);
  const random = new RandomSource(testSeed, "think time");
  const times = Array.from({ length: 100 }, () => drawSeconds({ kind: "normal", mean: 0, deviation: 1 }, random));
  expect(Math.min(...times)).toBe(0);
});

test.each([
  ["512", { kind: "fixed", value: 512 }, "512"],
  ["200-800", { kind: "uniform", low: 200, high: 800 }, "200-800"],
  ["normal:512:64", { kind: "normal", mean: 512, deviation: 64 }, "about 512 (normal, deviation 64)"],
  ["lognormal:512:0.5", { kind: "lognormal", median: 512, sigma: 0.5 }, "about 512 (lognormal, sigma 0.5)"],
] as const)("%s is read and described", (text, distribution, words) => {
  expect(parseCounts(text, "inputTokens")).toEqual(distribution);
  expect(describeDistribution(distribution)).toBe(words);
});

test("seconds may have a fraction and be 0", () => {
  expect(parseSeconds("0", "thinkSeconds")).toEqual({ kind: "fixed", value: 0 });
  expect(parseSeconds("0.5-2", "thinkSeconds")).toEqual({ kind: "uniform", low: 0.5, high: 2 });
  expect(parseSeconds("exponential:1.5", "thinkSeconds")).toEqual({ kind: "exponential", mean: 1.5 });
});

test.each([
  "",
  "0",
  "1.5",
  "-5",
  "8-2",
  "1-2-3",
  "1e5",
  "200000000",
  "normal:5",
  "normal:5:x",
  "lognormal:512:9",
  "zipf:1:2",
  "exponential:5",
])("%j is no length", (text) => {
  const parse = () => parseCounts(text, "outputTokens");
  expect(parse).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", field: "outputTokens" }));
  expect(parse).toThrow(JSON.stringify(text));
});

test("a file of lengths is refused with the line and the value that is none", () => {
  const path = temporaryFile("lengths.txt", "12\n\n3.5\n");
  expect(() => parseCounts(`file:${path}`, "inputTokens")).toThrow(`${path}: line 3 is "3.5"`);
  const empty = temporaryFile("empty.txt", "");
  expect(() => parseCounts(`file:${empty}`, "inputTokens")).toThrow("holds no lengths");
  expect(() => parseCounts("file:/nowhere/lengths.txt", "inputTokens")).toThrow("cannot be read (ENOENT)");
});

test("a trace lends the lengths of the option's own column", () => {
  const path = temporaryFile("trace.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n");
  expect(parseCounts(`file:${path}`, "inputTokens")).toMatchObject({ values: Float64Array.of(374) });
  expect(parseCounts(`file:${path}`, "outputTokens")).toMatchObject({ values: Float64Array.of(44) });
  const broken = temporaryFile("trace.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,x,44\n");
  const parse = () => parseCounts(`file:${broken}`, "outputTokens");
  expect(parse).toThrow(expect.objectContaining({ field: "outputTokens" }));
  expect(parse).toThrow(`${broken}: line 2: ContextTokens is "x"`);
});
