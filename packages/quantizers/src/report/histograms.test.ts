import { expect, test } from "vitest";
import { MagnitudeCounts, magnitudeHistogram } from "./magnitude-counts.ts";
import { valueHistograms } from "./value-histogram.ts";

test("magnitudes fall into half octaves, and zeros are counted apart", () => {
  // 1 and 1.4 lie below 2^0.5, 1.5 above; 4 begins an octave two further up.
  const { lowExponent, binsPerOctave, counts, zeroCount } = magnitudeHistogram(Float32Array.of(1, -1.4, 1.5, 0, -4, 0));
  expect({ lowExponent, binsPerOctave, counts, zeroCount }).toEqual({
    lowExponent: 0,
    binsPerOctave: 2,
    counts: [2, 1, 0, 0, 1],
    zeroCount: 2,
  });
});

test("batches add up, and what lies beyond the bins counts at their ends", () => {
  const counts = new MagnitudeCounts();
  counts.add(Float32Array.of(2 ** -60, 0.5));
  counts.add(Float32Array.of(2 ** 60, 0));
  const histogram = counts.histogram();
  expect(histogram.lowExponent).toBe(-30);
  expect(histogram.counts).toHaveLength(100);
  expect([histogram.counts[0], histogram.counts[58], histogram.counts[99]]).toEqual([1, 1, 1]);
  expect(histogram.counts.reduce((a, b) => a + b)).toBe(3);
});

test("nothing but zeros has no bins", () => {
  expect(magnitudeHistogram(new Float32Array(3))).toMatchObject({ counts: [], zeroCount: 3 });
});

test("values before and after are counted over the same bins, zero in the middle of one", () => {
  const [before, after] = valueHistograms(Float32Array.of(-2, 0, 1, 0.001), Float32Array.of(0, 0, 0, 4));
  expect([before.low, before.high, after.low, after.high]).toEqual([-4, 4, -4, 4]);
  expect(before.counts).toHaveLength(101);
  expect(before.counts[50]).toBe(2);
  expect(after.counts[50]).toBe(3);
  expect(after.counts[100]).toBe(1);
  expect(before.counts.reduce((a, b) => a + b)).toBe(4);
});

test("a matrix of zeros lies in one bin", () => {
  const [before] = valueHistograms(new Float32Array(2), new Float32Array(2));
  expect(before.counts.reduce((a, b) => a + b)).toBe(2);
});
