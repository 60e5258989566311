import { describe, expect, test } from "vitest";
import { greedy } from "../conformance/step-driver.ts";
import type { SamplingParameters } from "../step.ts";
import { sample } from "./sampler.ts";

const none = { promptIds: [], outputIds: [] };

/** How often each id is drawn over many output indices. */
function histogram(logits: readonly number[], sampling: Partial<SamplingParameters>, draws = 4000): number[] {
  const counts = logits.map(() => 0);
  for (let index = 0; index < draws; index++) {
    const outputIds = new Array<number>(index % 64).fill(0);
    const drawn = sample(
      Float32Array.from(logits),
      { ...greedy, temperature: 1, seed: [index >>> 6, 99], ...sampling },
      { promptIds: [], outputIds },
    );
    counts[drawn.id] = counts[drawn.id]! + 1;
  }
  return counts.map((count) => count / draws);
}

describe("temperature 0", () => {
  test("takes the largest logit, the lowest id on a tie", () => {
    expect(sample(Float32Array.of(1, 3, 3, 2), greedy, none).id).toBe(1);
  });

  test("comes after the penalties", () => {
    const history = { promptIds: [1], outputIds: [2, 2] };
    const logits = Float32Array.of(1, 2, 2.5, -3);
    expect(sample(logits, greedy, history).id).toBe(2);
    expect(sample(logits, { ...greedy, frequencyPenalty: 0.4 }, history).id).toBe(1);
    expect(sample(logits, { ...greedy, presencePenalty: 0.4 }, history).id).toBe(2);
    expect(sample(logits, { ...greedy, repetitionPenalty: 3 }, history).id).toBe(0);
  });

  test("never takes a NaN", () => {
    expect(sample(Float32Array.of(Number.NaN, -5, Number.NaN), greedy, none).id).toBe(1);
  });
});

test("a repetition penalty divides positive and multiplies negative logits", () => {
  const sampling = { ...greedy, repetitionPenalty: 2 };
  const history = { promptIds: [0], outputIds: [] };
  expect(sample(Float32Array.of(2, 1.1), sampling, history).id).toBe(1);
  expect(sample(Float32Array.of(-1, -1.9), sampling, history).id).toBe(1);
});

test("biases are added, and suppressed ids cannot be drawn before the minimum of tokens", () => {
  const logits = Float32Array.of(0, 1, 2);
  expect(sample(logits, { ...greedy, logitBias: [[0, 2.5]] }, none).id).toBe(0);
  const sampling = { ...greedy, minTokens: 2, suppressedIds: [2] };
  expect(sample(logits, sampling, { promptIds: [], outputIds: [1] }).id).toBe(1);
  expect(sample(logits, sampling, { promptIds: [], outputIds: [1, 1] }).id).toBe(2);
});

describe("draws", () => {
  const logits = [Math.log(0.5), Math.log(0.3), Math.log(0.15), Math.log(0.05)];

  test("follow the softmax", () => {
    const shares = histogram(logits, {});
    [0.5, 0.3, 0.15, 0.05].forEach((share, id) => {
      expect(Math.abs(shares[id]! - share)).toBeLessThan(0.03);
    });
  });

  test("sharpen as the temperature falls", () => {
    const [first] = histogram(logits, { temperature: 0.5 });
    expect(Math.abs(first! - 0.25 / (0.25 + 0.09 + 0.0225 + 0.0025))).toBeLessThan(0.03);
  });

  test("stay within the top k", () => {
    const shares = histogram(logits, { topK: 2 });
    expect(shares.slice(2)).toEqual([0, 0]);
    expect(Math.abs(shares[0]! - 5 / 8)).toBeLessThan(0.03);
  });

  test("stay within the smallest set that holds top-p, at least one id", () => {
    expect(histogram(logits, { topP: 0.7 }).slice(2)).toEqual([0, 0]);
    expect(histogram(logits, { topP: 0.01 }, 100)).toEqual([1, 0, 0, 0]);
  });

  test("leave out what min-p calls unlikely", () => {
    const shares = histogram(logits, { minP: 0.2 });
    expect(shares[3]).toBe(0);
    expect(shares[2]).toBeGreaterThan(0.1);
  });

  test("are the same for the same seed and index", () => {
    const sampling = { ...greedy, temperature: 1, seed: [5, 6] } as const;
    const ids = [0, 1].map(() => sample(Float32Array.from(logits), sampling, { promptIds: [3], outputIds: [1, 2] }).id);
    expect(ids[0]).toBe(ids[1]);
  });

  test("survive temperatures that overflow the logits", () => {
    expect(sample(Float32Array.of(1, 80, 3), { ...greedy, temperature: 1e-300 }, none).id).toBe(1);
  });
});

test("log-probabilities are of the raw distribution, the most likely first", () => {
  const logits = Float32Array.from([0.25, 0.5, 0.25].map(Math.log));
  const sampling = { ...greedy, topLogprobs: 2, logitBias: [[0, 9]] } as const;
  const { id, logprob, top } = sample(logits, sampling, none);
  expect(id).toBe(0);
  expect(logprob).toBeCloseTo(Math.log(0.25), 6);
  expect(top!.map(([each]) => each)).toEqual([1, 0]);
  expect(top![0]![1]).toBeCloseTo(Math.log(0.5), 6);
});

test("log-probabilities are absent unless asked for", () => {
  const { logprob, top } = sample(Float32Array.of(1, 2), greedy, none);
  expect(logprob).toBeNaN();
  expect(top).toBeUndefined();
});
