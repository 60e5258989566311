import { KvantError, limit } from "@kvant/core";
import type { ChatMessage, ModelInfo, PromptInput } from "@kvant/engine";
import type { ChatMessageBody } from "./chat-message-schema.ts";
import { checkTokenId } from "./sampling-request.ts";
import { shorten } from "./schema-fault.ts";

function refuse(field: string, message: string): never {
  throw new KvantError("REQUEST_INVALID", message, { field });
}

type TokenIds = readonly number[];

/** The prompts of a /v1/completions request, one per completion group, in order. Throws REQUEST_INVALID, TOKEN_OUT_OF_RANGE, CONTEXT_EXCEEDED. */
export function promptInputs(
  prompt: string | readonly string[] | TokenIds | readonly TokenIds[],
  model: ModelInfo,
): readonly PromptInput[] {
  if (typeof prompt === "string") return [textInput("prompt", prompt)];
  if (prompt.length === 0) refuse("prompt", "prompt is an empty list; it must hold at least one text or token id");
  if (isTokenIds(prompt)) return [tokenInput("prompt", prompt, model)];
  if (prompt.length > limit("promptsPerRequest")) {
    refuse("prompt", `prompt holds ${prompt.length} prompts; it must hold at most ${limit("promptsPerRequest")}`);
  }
  return [...prompt.entries()].map(([index, one]) =>
    typeof one === "string" ? textInput(`prompt[${index}]`, one) : tokenInput(`prompt[${index}]`, one, model),
  );
}

function isTokenIds(prompt: readonly string[] | TokenIds | readonly TokenIds[]): prompt is TokenIds {
  return typeof prompt[0] === "number";
}

export function textInput(field: string, text: string): PromptInput {
  if (text === "") refuse(field, `${field} is empty; it must hold at least one character`);
  return { kind: "text", text };
}

export function tokenInput(field: string, tokenIds: TokenIds, model: ModelInfo): PromptInput {
  if (tokenIds.length === 0) refuse(field, `${field} is an empty list; it must hold at least one token id`);
  if (tokenIds.length >= model.contextLength) {
    throw new KvantError(
      "CONTEXT_EXCEEDED",
      `${field} has ${tokenIds.length} tokens; it must have fewer than ${model.contextLength}, the model's context`,
      { field },
    );
  }
  for (let index = 0; index < tokenIds.length; index++) checkTokenId(`${field}[${index}]`, tokenIds[index]!, model);
  return { kind: "tokens", tokenIds };
}

/** The chat prompt of a list of messages. Throws REQUEST_INVALID. */
export function chatInput(messages: readonly ChatMessageBody[], addGenerationPrompt = true): PromptInput {
  return { kind: "chat", messages: messages.map(chatMessage), addGenerationPrompt };
}

function chatMessage(message: ChatMessageBody, index: number): ChatMessage {
  const field = `messages[${index}]`;
  const toolCalls: unknown = Reflect.get(message, "tool_calls");
  if (Array.isArray(toolCalls) && toolCalls.length > 0) {
    refuse(`${field}.tool_calls`, `${field}.tool_calls is ${shorten(toolCalls)}; tools are not served`);
  }
  return {
    // OpenAI's newer name of the same role; chat templates know `system`.
    role: message.role === "developer" ? "system" : message.role,
    content: messageText(message, field),
    ...(message.name === undefined || message.name === null ? {} : { name: message.name }),
  };
}

function messageText({ role, content }: ChatMessageBody, field: string): string {
  if (typeof content === "string") return content;
  if (content === undefined || content === null) {
    if (role === "assistant") return "";
    refuse(`${field}.content`, `${field}.content is missing; a message of role ${role} needs it`);
  }
  return content
    .map(({ type, text }, index) => {
      if (type === "text" && text !== undefined) return text;
      const part = `${field}.content[${index}]`;
      if (type === "text") refuse(`${part}.text`, `${part}.text is missing; a text part needs it`);
      return refuse(`${part}.type`, `${part}.type is ${shorten(type)}; this model reads only "text" parts`);
    })
    .join("\n");
}
