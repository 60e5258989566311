import { randomInt } from "node:crypto";
import { KvantError, type LimitName, limit } from "@kvant/core";
import type { SamplingParameters } from "@kvant/kernels";
import type { GenerateRequest } from "./engine.ts";

/** What a request is checked against. */
export interface ModelBounds {
  readonly vocabSize: number;
  readonly contextLength: number;
  /** Tokens that one sequence can hold in the page pool. */
  readonly poolTokens: number;
  readonly endOfSequenceIds: readonly number[];
}

/** A request with every default filled in and every value inside its range. */
export interface CheckedRequest {
  readonly maxTokens: number;
  /** One per completion; they differ in their seed. */
  readonly samplings: readonly SamplingParameters[];
  readonly stop: readonly string[];
  /** Ids that end a completion, end of sequence included unless ignored. */
  readonly stopIds: ReadonlySet<number>;
  readonly priority: number;
  readonly salt: string | undefined;
  readonly deadlineMilliseconds: number | undefined;
  /** Whether the output goes on where the prompt's text ends: its first space then counts. */
  readonly continuesPrompt: boolean;
}

function invalid(field: string, value: unknown, wanted: string): KvantError {
  const shown = typeof value === "number" ? String(value) : JSON.stringify(value);
  return new KvantError("REQUEST_INVALID", `${field} is ${shown}; it must be ${wanted}`, { field });
}

function number(field: string, value: number | undefined, fallback: number, low: number, high: number): number {
  const used = value ?? fallback;
  if (typeof used !== "number" || !(used >= low && used <= high)) {
    throw invalid(field, value, `a number from ${low} to ${high}`);
  }
  return used;
}

function integer(field: string, value: number | undefined, fallback: number, low: number, high: number): number {
  const used = value ?? fallback;
  if (!Number.isInteger(used) || used < low || used > high) {
    throw invalid(field, value, `an integer from ${low} to ${high}`);
  }
  return used;
}

function atMost(field: string, count: number, name: LimitName): void {
  if (count > limit(name)) {
    throw new KvantError("REQUEST_INVALID", `${field} has ${count} entries; at most ${limit(name)} are allowed`, {
      field,
    });
  }
}

/** @throws REQUEST_INVALID, TOKEN_OUT_OF_RANGE, CONTEXT_EXCEEDED, KV_TOO_SMALL, with the field, the value and the limit. */
export function checkRequest(request: GenerateRequest, promptIds: Int32Array, bounds: ModelBounds): CheckedRequest {
  const { vocabSize, contextLength } = bounds;
  checkPrompt(promptIds, bounds);
  const room = contextLength - promptIds.length;
  const maxTokens = integer(
    "max_tokens",
    request.maxTokens,
    Math.min(room, bounds.poolTokens - promptIds.length),
    1,
    Number.MAX_SAFE_INTEGER,
  );
  if (maxTokens > room) {
    const sentence = `the prompt's ${promptIds.length} tokens and max_tokens ${maxTokens} exceed the context of ${contextLength} tokens`;
    throw new KvantError("CONTEXT_EXCEEDED", sentence, { field: "max_tokens" });
  }
  if (promptIds.length + maxTokens > bounds.poolTokens) {
    const sentence = `the prompt's ${promptIds.length} tokens and max_tokens ${maxTokens} exceed the KV cache of ${bounds.poolTokens} tokens`;
    throw new KvantError("KV_TOO_SMALL", sentence, { field: "max_tokens" });
  }

  const stop = request.stop ?? [];
  atMost("stop", stop.length, "stopStrings");
  for (const text of stop) {
    const bytes = Buffer.byteLength(text);
    if (bytes === 0 || bytes > limit("stopStringBytes")) {
      throw invalid("stop", text.slice(0, 300), `1 to ${limit("stopStringBytes")} bytes long; it has ${bytes}`);
    }
  }
  const stopTokenIds = request.stopTokenIds ?? [];
  atMost("stop_token_ids", stopTokenIds.length, "stopTokenIds");
  for (const id of stopTokenIds) checkTokenId("stop_token_ids", id, vocabSize);
  const stopIds = new Set(stopTokenIds);
  if (request.ignoreEos !== true) for (const id of bounds.endOfSequenceIds) stopIds.add(id);

  const n = integer("n", request.n, 1, 1, limit("completionsPerRequest"));
  const shared = sampling(request, maxTokens, bounds, stopIds);
  const seed = integer("seed", request.seed, randomInt(2 ** 47), Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  return {
    maxTokens,
    samplings: Array.from({ length: n }, (_, index) => ({ ...shared, seed: philoxKey(seed, index) })),
    stop,
    stopIds,
    priority: integer("priority", request.priority, 0, -1_000_000, 1_000_000),
    salt: salt(request.cacheSalt),
    // A deadline that passed on the way here is an ordinary one.
    deadlineMilliseconds:
      request.deadlineMilliseconds === undefined
        ? undefined
        : number("deadline", Math.max(0, request.deadlineMilliseconds), 0, 0, Number.MAX_SAFE_INTEGER),
    continuesPrompt: request.prompt.kind !== "chat",
  };
}

function salt(text: string | undefined): string | undefined {
  const bytes = Buffer.byteLength(text ?? "");
  if (bytes <= limit("cacheSaltBytes")) return text;
  const sentence = `cache_salt has ${bytes} bytes; at most ${limit("cacheSaltBytes")} are allowed`;
  throw new KvantError("REQUEST_INVALID", sentence, { field: "cache_salt" });
}

function checkPrompt(promptIds: Int32Array, { vocabSize, contextLength, poolTokens }: ModelBounds): void {
  if (promptIds.length === 0)
    throw new KvantError("REQUEST_INVALID", "prompt is empty; it needs at least one token", { field: "prompt" });
  if (promptIds.length >= contextLength) {
    const sentence = `prompt has ${promptIds.length} tokens; the context of ${contextLength} tokens leaves room for at most ${contextLength - 1}`;
    throw new KvantError("CONTEXT_EXCEEDED", sentence, { field: "prompt" });
  }
  if (promptIds.length >= poolTokens) {
    const sentence = `prompt has ${promptIds.length} tokens; the KV cache of ${poolTokens} tokens leaves room for at most ${poolTokens - 1}`;
    throw new KvantError("KV_TOO_SMALL", sentence, { field: "prompt" });
  }
  for (const id of promptIds) checkTokenId("prompt", id, vocabSize);
}

function checkTokenId(field: string, id: number, vocabSize: number): void {
  if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
    throw new KvantError("TOKEN_OUT_OF_RANGE", `${field} holds token id ${id}; ids run from 0 to ${vocabSize - 1}`, {
      field,
    });
  }
}

function sampling(
  request: GenerateRequest,
  maxTokens: number,
  { vocabSize, endOfSequenceIds }: ModelBounds,
  stopIds: ReadonlySet<number>,
): Omit<SamplingParameters, "seed"> {
  const logitBias = Object.entries(request.logitBias ?? {}).map(([id, bias]): readonly [number, number] => {
    checkTokenId("logit_bias", Number(id), vocabSize);
    return [Number(id), number("logit_bias", bias, 0, -100, 100)];
  });
  atMost("logit_bias", logitBias.length, "logitBiasEntries");
  const topP = number("top_p", request.topP, 1, 0, 1);
  if (topP === 0) throw invalid("top_p", topP, "above 0 and at most 1");
  const repetitionPenalty = number("repetition_penalty", request.repetitionPenalty, 1, 0, 10);
  if (repetitionPenalty === 0) throw invalid("repetition_penalty", repetitionPenalty, "above 0 and at most 10");
  const minTokens = integer("min_tokens", request.minTokens, 0, 0, Number.MAX_SAFE_INTEGER);
  if (minTokens > maxTokens) throw invalid("min_tokens", minTokens, `at most max_tokens, which is ${maxTokens}`);
  return {
    temperature: number("temperature", request.temperature, 1, 0, 2),
    topK: integer("top_k", request.topK, 0, 0, Number.MAX_SAFE_INTEGER) >= vocabSize ? 0 : (request.topK ?? 0),
    topP,
    minP: number("min_p", request.minP, 0, 0, 1),
    repetitionPenalty,
    frequencyPenalty: number("frequency_penalty", request.frequencyPenalty, 0, -2, 2),
    presencePenalty: number("presence_penalty", request.presencePenalty, 0, -2, 2),
    logitBias,
    minTokens,
    suppressedIds: minTokens > 0 ? [...new Set([...stopIds, ...endOfSequenceIds])] : [],
    topLogprobs:
      request.logprobs === undefined
        ? -1
        : integer("logprobs", request.logprobs, 0, 0, Math.min(limit("topLogprobs"), vocabSize)),
  };
}

/** The completions of one request draw from different Philox streams of the same seed. */
function philoxKey(seed: number, index: number): readonly [number, number] {
  const words = BigInt.asUintN(64, BigInt(seed));
  const low = Number(words & 0xffffffffn);
  const high = Number(words >> 32n);
  return [low, (high ^ Math.imul(index, 0x9e3779b9)) >>> 0];
}
