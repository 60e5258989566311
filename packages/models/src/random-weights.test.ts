import { parseWeightFormat } from "@kvant/formats";
import type { PlanWeight, WeightSource } from "@kvant/kernels";
import { expect, test } from "vitest";
import { loadRandomWeights } from "./random-weights.ts";

const [rows, cols] = [700, 1024];
const bf16 = parseWeightFormat("bf16");
const weight = (id: number, kind: PlanWeight["class"], shape: readonly [number, number]): PlanWeight =>
  ({
    id,
    name: `weight ${id}`,
    class: kind,
    rows: shape[0],
    cols: shape[1],
    format: bf16,
    activation: undefined,
  }) as PlanWeight;
const weights = [
  weight(0, "linear", [rows, cols]),
  weight(1, "norm", [1, cols]),
  weight(2, "bias", [1, cols]),
  weight(3, "linear", [rows, cols]),
];

/** `[weights]` their values, and how far loading said that it was. */
function load(seed: number): { readonly values: Float32Array[]; readonly told: number[] } {
  const values: Float32Array[] = [];
  const told: number[] = [];
  const take = (id: number, { data }: WeightSource) => {
    const bits = new Uint16Array(data.slice().buffer);
    values[id] = Float32Array.from(bits, (half) => new Float32Array(Uint32Array.of(half << 16).buffer)[0]!);
  };
  loadRandomWeights({ weights }, { loadWeight: take, loadWeightRows: undefined }, seed, ({ loadedBytes, totalBytes }) =>
    told.push(loadedBytes / totalBytes),
  );
  return { values, told };
}

const bytes = (array: Float32Array) => Buffer.from(array.buffer);
const { values, told } = load(1);
const isOutlier = (col: number) => col % 512 === 256;

test("matrices are normal with a deviation of 0.02", () => {
  const ordinary = values[0]!.filter((_, i) => !isOutlier(i % cols));
  const mean = ordinary.reduce((sum, value) => sum + value, 0) / ordinary.length;
  const deviation = Math.sqrt(ordinary.reduce((sum, value) => sum + (value - mean) ** 2, 0) / ordinary.length);
  expect(Math.abs(mean)).toBeLessThan(1e-4);
  expect(deviation).toBeGreaterThan(0.0199);
  expect(deviation).toBeLessThan(0.0201);
  // 68.3 % of normal values lie within one deviation, 95.4 % within two.
  const within = (bound: number) => ordinary.filter((value) => Math.abs(value) < bound).length / ordinary.length;
  expect(within(0.02)).toBeCloseTo(0.683, 2);
  expect(within(0.04)).toBeCloseTo(0.954, 2);
});

test("a few input channels are eight times as large", () => {
  const outliers = values[0]!.filter((_, i) => isOutlier(i % cols));
  const square = outliers.reduce((sum, value) => sum + value * value, 0) / outliers.length;
  expect(outliers.length).toBe(2 * rows);
  expect(Math.sqrt(square)).toBeCloseTo(8 * 0.02, 1);
});

test("norms are ones, biases zeros, equal shapes differ, and the seed decides", () => {
  expect(new Set(values[1])).toEqual(new Set([1]));
  expect(new Set(values[2])).toEqual(new Set([0]));
  expect(bytes(values[3]!).equals(bytes(values[0]!))).toBe(false);
  expect(load(1).values.every((again, i) => bytes(again).equals(bytes(values[i]!)))).toBe(true);
  expect(bytes(load(2).values[0]!).equals(bytes(values[0]!))).toBe(false);
});

test("progress is told in bytes, up to all of them", () => {
  expect(told).toEqual([...told].sort((a, b) => a - b));
  expect(told.at(-1)).toBe(1);
});
