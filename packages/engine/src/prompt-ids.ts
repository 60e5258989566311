import { KvantError } from "@kvant/core";
import type { Tokenizer } from "@kvant/tokenizer";
import type { PromptInput } from "./engine.ts";

function need(tokenizer: Tokenizer | undefined, what: string): Tokenizer {
  if (tokenizer !== undefined) return tokenizer;
  throw new KvantError("TOKENIZER_ABSENT", `the model has no tokenizer, so ${what} cannot be read; send token ids`, {
    field: "prompt",
  });
}

/**
 * The token ids of a prompt. Text gets the tokenizer's beginning of sequence; a chat template writes its own.
 * @throws TOKENIZER_ABSENT, CHAT_TEMPLATE_ABSENT, REQUEST_INVALID
 */
export function promptIds(prompt: PromptInput, tokenizer: Tokenizer | undefined, addSpecialTokens = true): Int32Array {
  switch (prompt.kind) {
    case "tokens":
      for (const id of prompt.tokenIds) {
        if (!Number.isInteger(id) || Math.abs(id) >= 2 ** 31) {
          throw new KvantError("TOKEN_OUT_OF_RANGE", `prompt holds ${id}, which is not a token id`, {
            field: "prompt",
          });
        }
      }
      return Int32Array.from(prompt.tokenIds);
    case "text": {
      const reader = need(tokenizer, "a text prompt");
      return reader.encode(prompt.text, { addBos: addSpecialTokens && reader.addsBos });
    }
    case "chat": {
      const { messages, addGenerationPrompt = true } = prompt;
      return need(tokenizer, "chat messages").encodeChat(
        messages.map((message) => ({ ...message })),
        { addGenerationPrompt },
      );
    }
    default:
      return prompt satisfies never;
  }
}
