import { KvantError, limit } from "@kvant/core";
import type { GenerateRequest, ModelInfo } from "@kvant/engine";
import type { SamplingFields } from "./sampling-schema.ts";
import { shorten } from "./schema-fault.ts";

function refuse(field: string, value: unknown, expectation: string): never {
  throw new KvantError("REQUEST_INVALID", `${field} is ${shorten(value)}; ${expectation}`, { field });
}

/**
 * The engine's request without its prompt, from fields that have passed their schema. Checks what a schema cannot know: the
 * model's vocabulary and context, sizes in bytes, fields that depend on each other.
 * Throws REQUEST_INVALID, TOKEN_OUT_OF_RANGE, CONTEXT_EXCEEDED.
 */
export function samplingRequest(fields: SamplingFields, model: ModelInfo): Omit<GenerateRequest, "prompt"> {
  const maxTokens = fields.max_tokens ?? undefined;
  if (maxTokens !== undefined && maxTokens > model.contextLength) {
    throw new KvantError(
      "CONTEXT_EXCEEDED",
      `max_tokens is ${maxTokens}; it must be at most ${model.contextLength}, the model's context`,
      { field: "max_tokens" },
    );
  }
  const minTokens = fields.min_tokens ?? undefined;
  if (minTokens !== undefined && minTokens > (maxTokens ?? model.contextLength)) {
    refuse("min_tokens", minTokens, `it must be at most max_tokens, ${maxTokens ?? model.contextLength}`);
  }
  const stopTokenIds = fields.stop_token_ids ?? undefined;
  for (const [index, tokenId] of stopTokenIds?.entries() ?? [])
    checkTokenId(`stop_token_ids[${index}]`, tokenId, model);
  const topK = fields.top_k ?? undefined;
  return {
    ...present("maxTokens", maxTokens),
    ...present("minTokens", minTokens),
    ...present("temperature", fields.temperature),
    ...present("topP", fields.top_p),
    ...present("topK", topK === -1 ? 0 : topK),
    ...present("minP", fields.min_p),
    ...present("repetitionPenalty", fields.repetition_penalty),
    ...present("frequencyPenalty", fields.frequency_penalty),
    ...present("presencePenalty", fields.presence_penalty),
    ...present("logitBias", logitBias(fields.logit_bias ?? {}, model)),
    ...present("seed", fields.seed),
    ...present("stop", stopStrings(fields.stop ?? [])),
    ...present("stopTokenIds", stopTokenIds),
    ...present("ignoreEos", fields.ignore_eos),
    ...present("n", fields.n),
    ...present("cacheSalt", fields.cache_salt),
    ...present("priority", fields.priority),
  };
}

/** One property, or none where the value is not given: the engine's defaults hold for what is absent. */
export function present<Name extends string, Value>(
  name: Name,
  value: Value | null | undefined,
): { readonly [key in Name]?: Value } {
  return value === undefined || value === null ? {} : ({ [name]: value } as { readonly [key in Name]: Value });
}

/** Throws TOKEN_OUT_OF_RANGE. */
export function checkTokenId(field: string, tokenId: number, { vocabSize }: ModelInfo): void {
  if (tokenId >= 0 && tokenId < vocabSize) return;
  throw new KvantError("TOKEN_OUT_OF_RANGE", `${field} is ${tokenId}; it must be between 0 and ${vocabSize - 1}`, {
    field,
  });
}

function logitBias(entries: Readonly<Record<string, number>>, model: ModelInfo): Record<number, number> | undefined {
  const biases: Record<number, number> = {};
  for (const [key, bias] of Object.entries(entries)) {
    if (!/^\d{1,10}$/.test(key)) refuse("logit_bias", key, "its keys must be token ids");
    checkTokenId("logit_bias", Number(key), model);
    biases[Number(key)] = bias;
  }
  return Object.keys(biases).length === 0 ? undefined : biases;
}

function stopStrings(stop: string | readonly string[]): readonly string[] | undefined {
  const strings = typeof stop === "string" ? [stop] : stop;
  if (strings.length > limit("stopStrings")) {
    refuse("stop", strings, `it must be at most ${limit("stopStrings")} strings`);
  }
  for (const [index, text] of strings.entries()) {
    const field = typeof stop === "string" ? "stop" : `stop[${index}]`;
    const bytes = Buffer.byteLength(text);
    if (bytes === 0) refuse(field, text, "it must not be empty");
    if (bytes > limit("stopStringBytes")) {
      throw new KvantError(
        "REQUEST_INVALID",
        `${field} has ${bytes} bytes; it must have at most ${limit("stopStringBytes")}`,
        { field },
      );
    }
  }
  return strings.length === 0 ? undefined : strings;
}
