import { KvantError } from "@kvant/core";
import type { Engine, PromptInput } from "@kvant/engine";
import { promptInputs } from "../../prompts.ts";
import { present, samplingRequest } from "../../sampling-request.ts";
import { answerGeneration } from "../answer-generation.ts";
import { answerHead, codePoints, completionLogprobs, usageBody } from "../answer-parts.ts";
import type { Choice } from "../collect-choices.ts";
import { CompletionChunks } from "../completion-chunks.ts";
import { checkRefusedFields } from "../refused-fields.ts";
import type { RouteRegistration } from "../route-registration.ts";
import { errorAnswers } from "../schemas/answer-schema.ts";
import { type CompletionRequest, completionAnswer, completionRequest } from "../schemas/completion-schema.ts";
import { checkStreamOptions, includeUsage } from "../stream-options.ts";

// OpenAI's default of the older route; the chat route has none.
const defaultMaxTokens = 16;

export const completionsRoute: RouteRegistration = (app, context) => {
  app.post(
    "/v1/completions",
    {
      config: { access: "api" },
      schema: {
        tags: ["OpenAI"],
        summary: "Continues one prompt or several, whole or streamed",
        body: completionRequest,
        response: { 200: completionAnswer, ...errorAnswers },
      },
    },
    async (request, reply) => {
      const { body } = request;
      context.model.check(body.model);
      checkRefusedFields(body);
      checkStreamOptions(body);
      checkCombinations(body);
      const { info } = context.model;
      const sampling = samplingRequest({ ...body, max_tokens: body.max_tokens ?? defaultMaxTokens }, info);
      const prompts = promptInputs(body.prompt, info);
      const echoes = body.echo === true ? await promptTexts(prompts, context.engine) : [];
      const head = answerHead("cmpl", context.model);
      const n = body.n ?? 1;
      return answerGeneration(context, request, reply, {
        requests: prompts.map((prompt) => ({ prompt, ...sampling, ...present("logprobs", body.logprobs) })),
        stream: body.stream === true,
        chunks: () => {
          const withLogprobs = typeof body.logprobs === "number";
          return new CompletionChunks(head, { withLogprobs, includeUsage: includeUsage(body) }, echoes, n);
        },
        body: (choices, usage) => ({
          ...head,
          object: "text_completion",
          choices: choices.map((choice) => choiceBody(choice, echoes[Math.floor(choice.index / n)] ?? "", body)),
          usage: usageBody(usage),
        }),
      });
    },
  );
};

function checkCombinations({ best_of, n, echo, logprobs }: CompletionRequest): void {
  if (typeof best_of === "number" && best_of !== (n ?? 1)) {
    throw new KvantError("REQUEST_INVALID", `best_of is ${best_of}; it must equal n, ${n ?? 1}`, { field: "best_of" });
  }
  if (echo === true && typeof logprobs === "number") {
    throw new KvantError(
      "REQUEST_INVALID",
      `logprobs is ${logprobs} with echo; log probabilities of prompt tokens are not computed`,
      { field: "logprobs" },
    );
  }
}

function promptTexts(prompts: readonly PromptInput[], engine: Engine): Promise<readonly string[]> {
  return Promise.all(
    prompts.map((prompt) => {
      if (prompt.kind === "text") return prompt.text;
      return prompt.kind === "tokens" ? engine.detokenize(prompt.tokenIds) : "";
    }),
  );
}

function choiceBody(choice: Choice, echo: string, { logprobs }: CompletionRequest) {
  return {
    index: choice.index,
    text: echo + choice.text,
    logprobs: typeof logprobs === "number" ? completionLogprobs(choice.logprobs, codePoints(echo)) : null,
    finish_reason: choice.finishReason,
    stop_reason: choice.stopReason,
  };
}
