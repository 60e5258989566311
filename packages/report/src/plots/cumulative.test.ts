import { expect, test } from "vitest";
import { cumulative } from "./cumulative.ts";

test("at every sample stands the share of samples that are at most as large", () => {
  const { x, y, shape } = cumulative("a", [3, 1, 2, 2]);
  expect([x, y, shape]).toEqual([[1, 2, 3], [0.25, 0.75, 1], "steps"]);
});

test("many samples are thinned to even ranks, with both ends kept", () => {
  const { x, y } = cumulative(
    "a",
    Array.from({ length: 10_001 }, (_, i) => i),
    5,
  );
  expect(x).toEqual([0, 2500, 5000, 7500, 10_000]);
  expect(y.at(-1)).toBe(1);
});

test("no samples make an empty series", () => {
  expect(cumulative("a", []).x).toEqual([]);
});
