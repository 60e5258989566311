import { expect, test } from "vitest";
import { ropeTable } from "./rope-table.ts";

const theta = 10_000;

test("default frequencies fall from 1 by powers of theta", () => {
  const { inverseFrequencies, magnitude } = ropeTable({ kind: "default", theta }, 8);
  expect([...inverseFrequencies]).toEqual([1, 0.1, 0.01, 0.001].map(Math.fround));
  expect(magnitude).toBe(1);
});

test("linear scaling divides all frequencies", () => {
  const { inverseFrequencies } = ropeTable({ kind: "linear", theta, factor: 4 }, 4);
  expect([...inverseFrequencies]).toEqual([0.25, 0.0025].map(Math.fround));
});

test("llama3 keeps fast frequencies, divides slow ones and blends between", () => {
  const rope = {
    kind: "llama3",
    theta: 500_000,
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContextLength: 128,
  } as const;
  const plain = ropeTable({ kind: "default", theta: rope.theta }, 16).inverseFrequencies;
  const ratios = ropeTable(rope, 16).inverseFrequencies.map((value, i) => value / plain[i]!);
  // Turns over 128 tokens: 20.4, 3.95, 0.77, 0.15 ...: kept, blended, then stretched eightfold.
  expect(ratios[0]).toBe(1);
  expect(ratios[1]).toBeGreaterThan(0.95);
  expect(ratios[1]).toBeLessThan(1);
  for (const ratio of ratios.subarray(2)) expect(ratio).toBeCloseTo(1 / 8, 6);
});

test("yarn keeps fast frequencies, divides slow ones, and scales sines and cosines", () => {
  const rope = {
    kind: "yarn",
    theta,
    factor: 4,
    originalContextLength: 4096,
    betaFast: 32,
    betaSlow: 1,
    attentionFactor: 1.1,
  } as const;
  const plain = ropeTable({ kind: "default", theta }, 64).inverseFrequencies;
  const { inverseFrequencies, magnitude } = ropeTable(rope, 64);
  const ratios = inverseFrequencies.map((value, i) => value / plain[i]!);
  expect(magnitude).toBe(1.1);
  expect(ratios[0]).toBe(1);
  expect(ratios.at(-1)).toBeCloseTo(1 / 4, 6);
  // The ramp runs from the pair that turns 32 times (10.5) to the one that turns once (22.5), and never rises.
  expect(ratios.findIndex((ratio) => ratio < 1)).toBe(11);
  expect(ratios.findIndex((ratio) => Math.abs(ratio - 0.25) < 1e-6)).toBe(23);
  for (let i = 1; i < ratios.length; i++) expect(ratios[i]).toBeLessThanOrEqual(ratios[i - 1]! + 1e-6);
});
