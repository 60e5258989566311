import { limit } from "@kvant/core";
import { type Static, Type } from "typebox";
import { chatMessages } from "../../chat-message-schema.ts";
import { nullable } from "../../request-schema.ts";
import { envelopeProperties, samplingProperties } from "../../sampling-schema.ts";
import { usageSchema } from "./answer-schema.ts";

export const chatRequest = Type.Object({
  ...envelopeProperties,
  messages: chatMessages,
  ...samplingProperties,
  max_completion_tokens: Type.Optional(
    nullable(Type.Integer({ minimum: 1, description: "The newer name of max_tokens; wins over it." })),
  ),
  logprobs: Type.Optional(nullable(Type.Boolean())),
  top_logprobs: Type.Optional(nullable(Type.Integer({ minimum: 0, maximum: limit("topLogprobs") }))),
  add_generation_prompt: Type.Optional(nullable(Type.Boolean())),
});

export type ChatRequest = Static<typeof chatRequest>;

const tokenLogprob = {
  token: Type.String(),
  logprob: Type.Number(),
  bytes: nullable(Type.Array(Type.Integer())),
};

export const chatAnswer = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal("chat.completion"),
    created: Type.Integer(),
    model: Type.String(),
    system_fingerprint: Type.String(),
    choices: Type.Array(
      Type.Object({
        index: Type.Integer(),
        message: Type.Object({
          role: Type.Literal("assistant"),
          content: Type.String(),
          refusal: Type.Null(),
        }),
        logprobs: nullable(
          Type.Object({
            content: Type.Array(Type.Object({ ...tokenLogprob, top_logprobs: Type.Array(Type.Object(tokenLogprob)) })),
            refusal: Type.Null(),
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
  { description: "The completion; with `stream`, server-sent events of `chat.completion.chunk` and a final `[DONE]`." },
);
