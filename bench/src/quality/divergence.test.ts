import { expect, test } from "vitest";
import { klDivergence, negativeLogLikelihood } from "./divergence.ts";

test("the divergence of a distribution from itself is zero, whatever constant is added to its logits", () => {
  const logits = Float32Array.of(1, -2, 0.5, 3);
  expect(klDivergence(logits, logits, 4)).toBe(0);
  expect(
    klDivergence(
      logits,
      logits.map((value) => value + 2),
      4,
    ),
  ).toBeCloseTo(0, 6);
});

test("the divergence is the textbook sum", () => {
  const p = [0.5, 0.25, 0.25];
  const q = [0.25, 0.5, 0.25];
  const logs = (values: number[]) => Float32Array.from(values, Math.log);
  expect(klDivergence(logs(p), logs(q), 3)).toBeCloseTo(0.5 * Math.log(2) + 0.25 * Math.log(0.5), 6);
});

test("the negative log-likelihood is summed over rows", () => {
  const logits = Float32Array.of(Math.log(0.25), Math.log(0.75), Math.log(0.5), Math.log(0.5));
  expect(negativeLogLikelihood(logits, Int32Array.of(1, 0), 2)).toBeCloseTo(-Math.log(0.75) - Math.log(0.5), 6);
});
