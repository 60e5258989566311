import { KvantError, limit } from "@kvant/core";
import type { GenerateEvent, GenerateRequest, ModelInfo, PromptInput, TokenLogprob } from "@kvant/engine";
import { Type } from "typebox";
import { chatMessages } from "../chat-message-schema.ts";
import { chatInput, textInput, tokenInput } from "../prompts.ts";
import { parserOf } from "../request-schema.ts";
import { present, samplingRequest } from "../sampling-request.ts";
import { samplingProperties } from "../sampling-schema.ts";
import type { Chat__Output } from "./generated/kvant/v1/Chat.ts";
import type { GenerateRequest__Output } from "./generated/kvant/v1/GenerateRequest.ts";
import type { GenerateResponse } from "./generated/kvant/v1/GenerateResponse.ts";
import type { TokenLogprob as TokenLogprobMessage } from "./generated/kvant/v1/TokenLogprob.ts";

// The wire has types but no ranges: messages pass the same checks as JSON bodies, under the same field names.
const parseFields = parserOf(
  Type.Object({
    ...samplingProperties,
    logprobs: Type.Optional(Type.Integer({ minimum: 0, maximum: limit("topLogprobs") })),
  }),
);
const parseMessages = parserOf(Type.Object({ messages: chatMessages }));

/** The engine's request of a message. `deadline`: when the call gives up, in milliseconds of now; infinite where there is none. */
export function generateRequest(
  message: GenerateRequest__Output,
  model: ModelInfo,
  deadlineMilliseconds: number,
): GenerateRequest {
  const fields = parseFields({
    ...present("temperature", message.sampling?.temperature),
    ...present("top_p", message.sampling?.topP),
    ...present("top_k", message.sampling?.topK),
    ...present("min_p", message.sampling?.minP),
    ...present("repetition_penalty", message.sampling?.repetitionPenalty),
    ...present("frequency_penalty", message.sampling?.frequencyPenalty),
    ...present("presence_penalty", message.sampling?.presencePenalty),
    ...present("logit_bias", message.sampling?.logitBias),
    ...present("seed", message.sampling?.seed),
    ...present("max_tokens", message.stopping?.maxTokens),
    ...present("min_tokens", message.stopping?.minTokens),
    ...present("stop", message.stopping?.stop),
    ...present("stop_token_ids", message.stopping?.stopTokenIds),
    ...present("ignore_eos", message.stopping?.ignoreEos),
    ...present("n", message.n),
    ...present("priority", message.priority),
    ...present("cache_salt", message.cacheSalt),
    ...present("logprobs", message.logprobs),
  });
  return {
    prompt: promptOf(message, model),
    ...samplingRequest(fields, model),
    ...present("logprobs", fields.logprobs),
    ...(Number.isFinite(deadlineMilliseconds) ? { deadlineMilliseconds } : {}),
  };
}

function promptOf(message: GenerateRequest__Output, model: ModelInfo): PromptInput {
  if (message.prompt === "text") return textInput("text", message.text ?? "");
  if (message.prompt === "tokenIds") return tokenInput("token_ids", message.tokenIds?.ids ?? [], model);
  if (message.prompt === "chat" && message.chat) return chatPrompt(message.chat);
  throw new KvantError("REQUEST_INVALID", "prompt is missing; one of text, token_ids or chat is required", {
    field: "prompt",
  });
}

/** Throws REQUEST_INVALID. */
export function chatPrompt({ messages: sent, addGenerationPrompt }: Chat__Output): PromptInput {
  const { messages } = parseMessages({
    messages: sent.map(({ role, content, name }) => ({ role, content, ...present("name", name) })),
  });
  return chatInput(messages, addGenerationPrompt ?? true);
}

export function eventMessage(event: GenerateEvent): GenerateResponse {
  switch (event.type) {
    case "delta": {
      const { index, text, tokenIds, logprobs } = event;
      return { delta: { index, text, tokenIds: [...tokenIds], logprobs: logprobs.map(logprobMessage) } };
    }
    case "finish":
      return {
        finish: {
          index: event.index,
          reason: event.reason === "stop" ? "FINISH_REASON_STOP" : "FINISH_REASON_LENGTH",
          ...(event.stopText === undefined ? present("stopTokenId", event.stopTokenId) : { stopText: event.stopText }),
        },
      };
    case "done":
      return { done: { usage: event.usage, timings: event.timings } };
    default:
      return event satisfies never;
  }
}

function logprobMessage({ top, ...token }: TokenLogprob): TokenLogprobMessage {
  return { ...tokenMessage(token), top: top.map(tokenMessage) };
}

function tokenMessage({ tokenId, text, bytes, logprob }: Omit<TokenLogprob, "top">): TokenLogprobMessage {
  return { tokenId, text, bytes: Buffer.from(bytes), logprob };
}
