import { KvantError } from "@kvant/core";
import { Type } from "typebox";
import { chatMessages } from "../../chat-message-schema.ts";
import { chatInput } from "../../prompts.ts";
import { nullable } from "../../request-schema.ts";
import { checkTokenId } from "../../sampling-request.ts";
import type { RouteRegistration } from "../route-registration.ts";
import { errorAnswers } from "../schemas/answer-schema.ts";

const tokenizeRequest = Type.Object(
  {
    model: Type.Optional(nullable(Type.String())),
    prompt: Type.Optional(Type.String()),
    messages: Type.Optional(chatMessages),
    add_special_tokens: Type.Optional(nullable(Type.Boolean())),
    add_generation_prompt: Type.Optional(nullable(Type.Boolean())),
  },
  { description: "Either `prompt` or `messages`." },
);

export const tokenizeRoute: RouteRegistration = (app, { engine, model }) => {
  app.post(
    "/tokenize",
    {
      config: { access: "api" },
      schema: {
        tags: ["Tokens"],
        summary: "Token ids of a text or a conversation",
        body: tokenizeRequest,
        response: {
          200: Type.Object({
            tokens: Type.Array(Type.Integer()),
            count: Type.Integer(),
            max_model_len: Type.Integer(),
          }),
          ...errorAnswers,
        },
      },
    },
    async ({ body }) => {
      model.check(body.model);
      const { prompt, messages, add_special_tokens: addSpecialTokens } = body;
      if ((prompt === undefined) === (messages === undefined)) {
        const found = prompt === undefined ? "prompt and messages are missing" : "prompt and messages are both given";
        throw new KvantError("REQUEST_INVALID", `${found}; exactly one of them is required`, { field: "prompt" });
      }
      const input =
        messages === undefined
          ? ({ kind: "text", text: prompt ?? "" } as const)
          : chatInput(messages, body.add_generation_prompt ?? true);
      const tokens = await engine.tokenize(input, typeof addSpecialTokens === "boolean" ? { addSpecialTokens } : {});
      return { tokens: [...tokens], count: tokens.length, max_model_len: model.info.contextLength };
    },
  );
};

export const detokenizeRoute: RouteRegistration = (app, { engine, model }) => {
  app.post(
    "/detokenize",
    {
      config: { access: "api" },
      schema: {
        tags: ["Tokens"],
        summary: "Text of token ids",
        body: Type.Object({
          model: Type.Optional(nullable(Type.String())),
          tokens: Type.Array(Type.Integer()),
        }),
        response: { 200: Type.Object({ prompt: Type.String() }), ...errorAnswers },
      },
    },
    async ({ body }) => {
      model.check(body.model);
      const { info } = model;
      for (const [index, tokenId] of body.tokens.entries()) checkTokenId(`tokens[${index}]`, tokenId, info);
      return { prompt: await engine.detokenize(body.tokens) };
    },
  );
};
