import { Template } from "@huggingface/jinja";
import { KvantError } from "@kvant/core";
import { honorStripCharacters, stripFunctions } from "./jinja-strip.ts";

/** One message of a conversation, in OpenAI's form. Templates may read any further field. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [field: string]: unknown;
}

export interface ChatTemplateOptions {
  /** Ends with the opening of the assistant's turn. */
  readonly addGenerationPrompt: boolean;
  /** Tool descriptions in OpenAI's form. */
  readonly tools?: readonly unknown[];
  /** Further variables that a template may read, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** A model's own Jinja template, which turns a conversation into the text the model was trained on. */
export class ChatTemplate {
  readonly source: string;
  readonly #bosToken: string;
  readonly #eosToken: string;
  #template: Template | undefined;

  constructor(source: string, { bosToken = "", eosToken = "" }: { bosToken?: string; eosToken?: string }) {
    this.source = source;
    this.#bosToken = bosToken;
    this.#eosToken = eosToken;
  }

  /**
   * @throws KvantError CONFIG_INVALID when the template cannot be parsed, REQUEST_INVALID when it refuses the messages
   */
  render(messages: readonly ChatMessage[], { addGenerationPrompt, tools, variables }: ChatTemplateOptions): string {
    this.#template ??= parse(this.source);
    try {
      return this.#template.render({
        ...variables,
        ...stripFunctions,
        messages,
        tools: tools ?? null,
        add_generation_prompt: addGenerationPrompt,
        bos_token: this.#bosToken,
        eos_token: this.#eosToken,
      });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const sentence = `the model's chat template does not take these messages: ${reason}`;
      throw new KvantError("REQUEST_INVALID", sentence, { cause, field: "messages" });
    }
  }
}

function parse(source: string): Template {
  try {
    const template = new Template(source);
    honorStripCharacters(template.parsed);
    return template;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KvantError("CONFIG_INVALID", `the model's chat template cannot be parsed: ${reason}`, { cause });
  }
}
