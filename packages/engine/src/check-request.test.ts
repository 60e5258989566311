import { KvantError } from "@kvant/core";
import { describe, expect, test } from "vitest";
import { checkRequest } from "./check-request.ts";
import type { GenerateRequest } from "./engine.ts";

const bounds = { vocabSize: 100, contextLength: 32, poolTokens: 24, endOfSequenceIds: [2] };
const prompt = { kind: "tokens", tokenIds: [] } as const;

function check(request: Omit<GenerateRequest, "prompt">, promptIds: readonly number[] = [1, 5]) {
  return checkRequest({ prompt, ...request }, Int32Array.from(promptIds), bounds);
}

function refusal(act: () => unknown): { code: string; field: string | undefined; message: string } {
  try {
    act();
  } catch (error) {
    if (error instanceof KvantError) return { code: error.code, field: error.field, message: error.message };
    throw error;
  }
  throw new Error("nothing was thrown");
}

test("defaults fill the context or the page pool, whichever is smaller", () => {
  expect(check({}).maxTokens).toBe(22);
  expect(check({}).samplings).toHaveLength(1);
  expect(check({}).samplings[0]).toMatchObject({ temperature: 1, topK: 0, topP: 1, minP: 0, topLogprobs: -1 });
});

test("the same seed gives the same keys, and every completion its own", () => {
  const keys = check({ n: 3, seed: 7 }).samplings.map(({ seed }) => seed);
  expect(keys).toEqual(check({ n: 3, seed: 7 }).samplings.map(({ seed }) => seed));
  expect(new Set(keys.map(String)).size).toBe(3);
  expect(check({ seed: -1 }).samplings[0]!.seed).toEqual([0xffffffff, 0xffffffff]);
});

test("end of sequence stops unless ignored, and cannot be drawn before min_tokens", () => {
  expect([...check({ stopTokenIds: [9] }).stopIds].sort()).toEqual([2, 9]);
  expect([...check({ ignoreEos: true }).stopIds]).toEqual([]);
  expect(check({ minTokens: 3, stopTokenIds: [9] }).samplings[0]!.suppressedIds).toEqual([9, 2]);
});

describe("refusals name field, value and limit", () => {
  test.each<[Omit<GenerateRequest, "prompt">, readonly number[], string, string, RegExp]>([
    [{}, [], "REQUEST_INVALID", "prompt", /empty/],
    [{}, [1, 100], "TOKEN_OUT_OF_RANGE", "prompt", /100.*0 to 99/],
    [{}, [-1], "TOKEN_OUT_OF_RANGE", "prompt", /-1/],
    [{}, new Array(32).fill(1), "CONTEXT_EXCEEDED", "prompt", /32 tokens.*at most 31/],
    [{ maxTokens: 31 }, [1, 5], "CONTEXT_EXCEEDED", "max_tokens", /31.*32 tokens/],
    [{ maxTokens: 25 }, [1, 5], "KV_TOO_SMALL", "max_tokens", /25.*24 tokens/],
    [{}, new Array(24).fill(1), "KV_TOO_SMALL", "prompt", /24 tokens.*24 tokens/],
    [{ cacheSalt: "x".repeat(257) }, [1], "REQUEST_INVALID", "cache_salt", /257.*256/],
    [{ maxTokens: 0 }, [1], "REQUEST_INVALID", "max_tokens", /is 0/],
    [{ maxTokens: 1.5 }, [1], "REQUEST_INVALID", "max_tokens", /1\.5/],
    [{ n: 9 }, [1], "REQUEST_INVALID", "n", /is 9.*1 to 8/],
    [{ temperature: -0.1 }, [1], "REQUEST_INVALID", "temperature", /-0\.1.*0 to 2/],
    [{ temperature: Number.NaN }, [1], "REQUEST_INVALID", "temperature", /NaN.*0 to 2/],
    [{ topP: 0 }, [1], "REQUEST_INVALID", "top_p", /above 0/],
    [{ topK: -1 }, [1], "REQUEST_INVALID", "top_k", /-1/],
    [{ minP: 2 }, [1], "REQUEST_INVALID", "min_p", /2.*0 to 1/],
    [{ repetitionPenalty: 0 }, [1], "REQUEST_INVALID", "repetition_penalty", /above 0/],
    [{ frequencyPenalty: 3 }, [1], "REQUEST_INVALID", "frequency_penalty", /-2 to 2/],
    [{ logitBias: { 100: 1 } }, [1], "TOKEN_OUT_OF_RANGE", "logit_bias", /100/],
    [{ logitBias: { 1: 101 } }, [1], "REQUEST_INVALID", "logit_bias", /101.*-100 to 100/],
    [{ stop: new Array(17).fill("a") }, [1], "REQUEST_INVALID", "stop", /17.*16/],
    [{ stop: ["x".repeat(257)] }, [1], "REQUEST_INVALID", "stop", /257/],
    [{ stopTokenIds: [100] }, [1], "TOKEN_OUT_OF_RANGE", "stop_token_ids", /100/],
    [{ minTokens: 9, maxTokens: 8 }, [1], "REQUEST_INVALID", "min_tokens", /9.*8/],
    [{ logprobs: 21 }, [1], "REQUEST_INVALID", "logprobs", /21.*20/],
    [{ seed: 1.5 }, [1], "REQUEST_INVALID", "seed", /1\.5/],
  ])("%j", (request, promptIds, code, field, message) => {
    const refused = refusal(() => check(request, promptIds));
    expect(refused).toMatchObject({ code, field });
    expect(refused.message).toMatch(message);
  });
});
