import { limit } from "@kvant/core";
import { type Static, Type } from "typebox";
import { nullable } from "./request-schema.ts";

const tokenId = () => Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 });

/** The parameters that completions, chat completions and gRPC share. Every one is optional and may be null. */
export const samplingProperties = {
  temperature: Type.Optional(nullable(Type.Number({ minimum: 0, maximum: 2, description: "0 is greedy." }))),
  top_p: Type.Optional(nullable(Type.Number({ exclusiveMinimum: 0, maximum: 1 }))),
  top_k: Type.Optional(nullable(Type.Integer({ minimum: -1, maximum: 2 ** 31 - 1, description: "0 or -1: off." }))),
  min_p: Type.Optional(nullable(Type.Number({ minimum: 0, maximum: 1 }))),
  repetition_penalty: Type.Optional(nullable(Type.Number({ exclusiveMinimum: 0, maximum: 10 }))),
  frequency_penalty: Type.Optional(nullable(Type.Number({ minimum: -2, maximum: 2 }))),
  presence_penalty: Type.Optional(nullable(Type.Number({ minimum: -2, maximum: 2 }))),
  logit_bias: Type.Optional(
    nullable(
      Type.Record(Type.String(), Type.Number({ minimum: -100, maximum: 100 }), {
        maxProperties: limit("logitBiasEntries"),
        description: "Token id to what is added to its logit.",
      }),
    ),
  ),
  seed: Type.Optional(nullable(Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }))),
  stop: Type.Optional(
    nullable(
      Type.Union([Type.String(), Type.Array(Type.String())], {
        description: `a string or a list of at most ${limit("stopStrings")} strings of at most ${limit("stopStringBytes")} bytes`,
      }),
    ),
  ),
  stop_token_ids: Type.Optional(nullable(Type.Array(tokenId(), { maxItems: limit("stopTokenIds") }))),
  ignore_eos: Type.Optional(nullable(Type.Boolean())),
  min_tokens: Type.Optional(nullable(Type.Integer({ minimum: 0 }))),
  max_tokens: Type.Optional(nullable(Type.Integer({ minimum: 1 }))),
  n: Type.Optional(nullable(Type.Integer({ minimum: 1, maximum: limit("completionsPerRequest") }))),
  priority: Type.Optional(
    nullable(Type.Integer({ minimum: -1_000_000, maximum: 1_000_000, description: "Lower runs first." })),
  ),
  cache_salt: Type.Optional(
    nullable(
      Type.String({
        minLength: 1,
        maxLength: limit("cacheSaltBytes"),
        description: "Prefixes are shared only between requests of the same salt.",
      }),
    ),
  ),
};

export const samplingSchema = Type.Object(samplingProperties);

export type SamplingFields = Static<typeof samplingSchema>;

/** What both streaming routes and their models share. */
export const envelopeProperties = {
  model: Type.Optional(nullable(Type.String())),
  stream: Type.Optional(nullable(Type.Boolean())),
  stream_options: Type.Optional(nullable(Type.Object({ include_usage: Type.Optional(nullable(Type.Boolean())) }))),
};
