import { KvantError } from "@kvant/core";
import { chatInput } from "../../prompts.ts";
import { present, samplingRequest } from "../../sampling-request.ts";
import { answerGeneration } from "../answer-generation.ts";
import { answerHead, chatLogprobs, usageBody } from "../answer-parts.ts";
import { ChatChunks } from "../chat-chunks.ts";
import { checkRefusedFields } from "../refused-fields.ts";
import type { RouteRegistration } from "../route-registration.ts";
import { errorAnswers } from "../schemas/answer-schema.ts";
import { type ChatRequest, chatAnswer, chatRequest } from "../schemas/chat-schema.ts";
import { checkStreamOptions, includeUsage } from "../stream-options.ts";

export const chatCompletionsRoute: RouteRegistration = (app, context) => {
  app.post(
    "/v1/chat/completions",
    {
      config: { access: "api" },
      schema: {
        tags: ["OpenAI"],
        summary: "Answers a conversation, whole or streamed",
        body: chatRequest,
        response: { 200: chatAnswer, ...errorAnswers },
      },
    },
    async (request, reply) => {
      const { body } = request;
      context.model.check(body.model);
      checkRefusedFields(body);
      checkStreamOptions(body);
      const logprobs = logprobCount(body);
      const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? null;
      const sampling = samplingRequest({ ...body, max_tokens: maxTokens }, context.model.info);
      const prompt = chatInput(body.messages, body.add_generation_prompt ?? true);
      const head = answerHead("chatcmpl", context.model);
      const withLogprobs = logprobs !== undefined;
      return answerGeneration(context, request, reply, {
        requests: [{ prompt, ...sampling, ...present("logprobs", logprobs) }],
        stream: body.stream === true,
        chunks: () => new ChatChunks(head, { withLogprobs, includeUsage: includeUsage(body) }),
        body: (choices, usage) => ({
          ...head,
          object: "chat.completion",
          choices: choices.map((choice) => ({
            index: choice.index,
            message: { role: "assistant", content: choice.text, refusal: null },
            logprobs: withLogprobs ? chatLogprobs(choice.logprobs) : null,
            finish_reason: choice.finishReason,
            stop_reason: choice.stopReason,
          })),
          usage: usageBody(usage),
        }),
      });
    },
  );
};

/** The engine's `logprobs` from the chat route's pair of fields. */
function logprobCount({ logprobs, top_logprobs }: ChatRequest): number | undefined {
  if (logprobs === true) return top_logprobs ?? 0;
  if (typeof top_logprobs !== "number" || top_logprobs === 0) return undefined;
  throw new KvantError("REQUEST_INVALID", `top_logprobs is ${top_logprobs}; it needs logprobs to be true`, {
    field: "top_logprobs",
  });
}
