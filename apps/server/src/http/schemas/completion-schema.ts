import { limit } from "@kvant/core";
import { type Static, Type } from "typebox";
import { nullable } from "../../request-schema.ts";
import { envelopeProperties, samplingProperties } from "../../sampling-schema.ts";
import { usageSchema } from "./answer-schema.ts";

const tokenIds = () => Type.Array(Type.Integer());

export const completionRequest = Type.Object({
  ...envelopeProperties,
  prompt: Type.Union([Type.String(), Type.Array(Type.String()), tokenIds(), Type.Array(tokenIds())], {
    description: "a string, a list of strings, a list of token ids or a list of lists of token ids",
  }),
  ...samplingProperties,
  echo: Type.Optional(nullable(Type.Boolean({ description: "Puts the prompt before the completion." }))),
  best_of: Type.Optional(nullable(Type.Integer({ description: "Accepted when it equals n." }))),
  logprobs: Type.Optional(
    nullable(
      Type.Integer({
        minimum: 0,
        maximum: limit("topLogprobs"),
        description: "0: of the drawn tokens; k: also the k most likely.",
      }),
    ),
  ),
  suffix: Type.Optional(
    nullable(Type.String({ description: "Refused unless empty: no model here fills in the middle." })),
  ),
});

export type CompletionRequest = Static<typeof completionRequest>;

export const completionAnswer = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal("text_completion"),
    created: Type.Integer(),
    model: Type.String(),
    system_fingerprint: Type.String(),
    choices: Type.Array(
      Type.Object({
        index: Type.Integer(),
        text: Type.String(),
        logprobs: nullable(
          Type.Object({
            tokens: Type.Array(Type.String()),
            token_logprobs: Type.Array(Type.Number()),
            top_logprobs: Type.Array(Type.Record(Type.String(), Type.Number())),
            text_offset: Type.Array(Type.Integer()),
          }),
        ),
        finish_reason: Type.Enum(["stop", "length"]),
        stop_reason: Type.Union([Type.String(), Type.Integer(), Type.Null()], {
          description: "The stop string or stop token id that ended it.",
        }),
      }),
    ),
    usage: usageSchema,
  },
  { description: "The completion; with `stream`, server-sent events of the same shape and a final `[DONE]`." },
);
