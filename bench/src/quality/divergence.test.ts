import { describe, expect, test } from "vitest";
import { compareRow, klDivergence, negativeLogLikelihood } from "./divergence.ts";

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

describe("a row of two models", () => {
  const logs = (...values: number[]) => Float32Array.from(values, Math.log);

  test("has the divergence, both surprises and the agreement of its two distributions", () => {
    // KL = 0.7 ln(0.7 / 0.6) + 0.2 ln(0.2 / 0.1) + 0.1 ln(0.1 / 0.3) = 0.10791 + 0.13863 - 0.10986
    const row = compareRow(logs(0.7, 0.2, 0.1), logs(0.6, 0.1, 0.3), 1);
    expect(row.divergence).toBeCloseTo(0.13667, 5);
    expect(row.referenceNats).toBeCloseTo(Math.log(5), 6);
    expect(row.nats).toBeCloseTo(Math.log(10), 6);
    expect(row.isAgreed).toBe(true);
    expect(compareRow(logs(0.7, 0.2, 0.1), logs(0.3, 0.6, 0.1), 0).isAgreed).toBe(false);
  });

  test("does not depend on a constant added to the logits", () => {
    const row = compareRow(Float32Array.of(1, 3), Float32Array.of(2, 1), 0);
    const shifted = compareRow(Float32Array.of(1001, 1003), Float32Array.of(-98, -99), 0);
    for (const figure of ["divergence", "nats", "referenceNats"] as const) {
      expect(shifted[figure]).toBeCloseTo(row[figure], 12);
    }
  });

  test("takes the lowest of equally likely tokens", () => {
    expect(compareRow(Float32Array.of(0, 2, 2), Float32Array.of(0, 2, 1), 0).isAgreed).toBe(true);
    expect(compareRow(Float32Array.of(0, 2, 2), Float32Array.of(0, 1, 2), 0).isAgreed).toBe(false);
  });
});

test("the negative log-likelihood is summed over rows", () => {
  const logits = Float32Array.of(Math.log(0.25), Math.log(0.75), Math.log(0.5), Math.log(0.5));
  expect(negativeLogLikelihood(logits, Int32Array.of(1, 0), 2)).toBeCloseTo(-Math.log(0.75) - Math.log(0.5), 6);
});
