import { randomUUID } from "node:crypto";
import type { TokenLogprob, Usage } from "@kvant/engine";
import type { ServedModel } from "../served-model.ts";

/** The fields that every answer and every chunk of one request share. */
export interface AnswerHead {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

export function answerHead(prefix: "cmpl" | "chatcmpl", model: ServedModel): AnswerHead {
  return {
    id: `${prefix}-${randomUUID().replaceAll("-", "")}`,
    created: Math.floor(Date.now() / 1000),
    model: model.name,
    system_fingerprint: model.fingerprint,
  };
}

export function usageBody(usage: Usage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  };
}

export const noUsage: Usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };

export function addUsage(left: Usage, right: Usage): Usage {
  return {
    promptTokens: left.promptTokens + right.promptTokens,
    cachedTokens: left.cachedTokens + right.cachedTokens,
    completionTokens: left.completionTokens + right.completionTokens,
  };
}

/**
 * The older shape of log probabilities, of /v1/completions. `offset` is where the first token starts in the answer's text,
 * in Unicode code points, as OpenAI counts.
 */
export function completionLogprobs(tokens: readonly TokenLogprob[], offset: number) {
  const offsets: number[] = [];
  let next = offset;
  for (const { text } of tokens) {
    offsets.push(next);
    next += codePoints(text);
  }
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ top }) => Object.fromEntries(top.map(({ text, logprob }) => [text, logprob]))),
    text_offset: offsets,
  };
}

export function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** The shape of log probabilities of /v1/chat/completions. */
export function chatLogprobs(tokens: readonly TokenLogprob[]) {
  return {
    content: tokens.map(({ text, logprob, bytes, top }) => ({
      token: text,
      logprob,
      bytes,
      top_logprobs: top.map((other) => ({ token: other.text, logprob: other.logprob, bytes: other.bytes })),
    })),
    refusal: null,
  };
}
