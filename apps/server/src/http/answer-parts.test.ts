import { describe, expect, test } from "vitest";
import { addUsage, codePoints, completionLogprobs, noUsage, usageBody } from "./answer-parts.ts";

describe("usage", () => {
  test("adds up over the prompts of a request", () => {
    const one = { promptTokens: 5, cachedTokens: 2, completionTokens: 3 };
    expect(usageBody(addUsage(addUsage(noUsage, one), one))).toEqual({
      prompt_tokens: 10,
      completion_tokens: 6,
      total_tokens: 16,
      prompt_tokens_details: { cached_tokens: 4 },
    });
  });
});

describe("completionLogprobs", () => {
  test("counts offsets in code points from where the answer stands", () => {
    const token = (text: string) => ({ tokenId: 1, text, bytes: [], logprob: -1, top: [] });
    const { text_offset } = completionLogprobs([token("🙂"), token(" ab"), token("é")], 10);
    expect(text_offset).toEqual([10, 11, 14]);
    expect(codePoints("🙂é日")).toBe(3);
  });
});
