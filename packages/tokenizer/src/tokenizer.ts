import { KvantError } from "@kvant/core";
import type { ChatMessage, ChatTemplate, ChatTemplateOptions } from "./chat-template.ts";
import { ControlText, escapedBreak, wellFormedText } from "./control-text.ts";
import { StreamDecoder, type StreamDecoderOptions } from "./stream-decoder.ts";
import type { TextEncode } from "./text-encoder.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface TokenizerParts {
  readonly vocabulary: Vocabulary;
  readonly encodeText: TextEncode;
  readonly bosTokenId?: number | undefined;
  /** Whether the model was trained with its begin token before every text. */
  readonly addsBos: boolean;
  readonly eosTokenIds: readonly number[];
  readonly chatTemplate?: ChatTemplate | undefined;
}

export interface EncodeOptions {
  /** Put the begin token first. Default: what the model was trained with, see `addsBos`. */
  readonly addBos?: boolean;
  /**
   * Read the text of control tokens (`<s>`, `<|im_end|>`) as the tokens themselves. Only for text that no user has written.
   * Default false: they are encoded as the characters they are made of.
   */
  readonly allowSpecial?: boolean;
}

export interface DecodeOptions {
  /** Leaves control tokens out of the text. Default true. */
  readonly skipSpecial?: boolean;
}

/** Between text and token ids for one model. Made by `loadTokenizer` or `byteTokenizer`. */
export class Tokenizer {
  /** One more than the largest id; a model's own vocabulary is often padded beyond it. */
  readonly vocabSize: number;
  readonly bosTokenId: number | undefined;
  readonly addsBos: boolean;
  /** Every id that ends a reply, the tokenizer's own first. */
  readonly eosTokenIds: readonly number[];
  /** The source of the model's chat template. */
  readonly chatTemplate: string | undefined;
  readonly #vocabulary: Vocabulary;
  readonly #encodeText: TextEncode;
  readonly #controlText: ControlText;
  readonly #template: ChatTemplate | undefined;

  constructor({ vocabulary, encodeText, bosTokenId, addsBos, eosTokenIds, chatTemplate }: TokenizerParts) {
    this.vocabSize = vocabulary.size;
    this.bosTokenId = bosTokenId;
    this.addsBos = addsBos && bosTokenId !== undefined;
    this.eosTokenIds = eosTokenIds;
    this.chatTemplate = chatTemplate?.source;
    this.#vocabulary = vocabulary;
    this.#encodeText = encodeText;
    this.#controlText = new ControlText(vocabulary.controlContents);
    this.#template = chatTemplate;
  }

  /**
   * The ids of a text.
   * @throws KvantError INVALID_ARGUMENT when `addBos` is asked of a vocabulary without a begin token
   */
  encode(text: string, { addBos = this.addsBos, allowSpecial = false }: EncodeOptions = {}): Int32Array {
    if (addBos && this.bosTokenId === undefined) {
      throw new KvantError("INVALID_ARGUMENT", "addBos is asked for, but this vocabulary has no begin token");
    }
    const ids = this.#encodeText(allowSpecial ? wellFormedText(text) : this.#controlText.disarm(text));
    return addBos ? Int32Array.from([this.bosTokenId!, ...ids]) : Int32Array.from(ids);
  }

  /** The text of ids; the same as pushing them into a `streamDecoder` and finishing it. */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const decoder = new StreamDecoder(this.#vocabulary, options);
    return decoder.push(ids) + decoder.finish();
  }

  streamDecoder(options: StreamDecoderOptions = {}): StreamDecoder {
    return new StreamDecoder(this.#vocabulary, options);
  }

  /** The bytes a token stands for, which may be part of a character; undefined for an id without a token. */
  tokenBytes(id: number): Uint8Array | undefined {
    return this.#vocabulary.bytes(id);
  }

  /** Whether a token is a control token, which is no text. */
  isSpecial(id: number): boolean {
    return this.#vocabulary.isControl(id);
  }

  /** The id of an added token by its text, such as `<|im_end|>`. */
  addedTokenId(content: string): number | undefined {
    return this.#vocabulary.addedId(content);
  }

  /**
   * The text of a conversation by the model's own template. To be encoded with `allowSpecial` and without `addBos`, as the
   * template writes the control tokens itself; `encodeChat` does it so that message texts cannot bring their own.
   * @throws KvantError CHAT_TEMPLATE_ABSENT without a template, REQUEST_INVALID when the template refuses the messages
   */
  applyChatTemplate(messages: readonly ChatMessage[], options: ChatTemplateOptions): string {
    if (this.#template === undefined) {
      throw new KvantError("CHAT_TEMPLATE_ABSENT", "the model has no chat template; send a plain prompt", {
        field: "messages",
      });
    }
    return this.#template.render(messages, options);
  }

  /**
   * The ids of a conversation. Control tokens come from the template alone: their text inside a message or a tool
   * description is encoded as characters, so no message can end its turn or speak for another role.
   * @throws KvantError as `applyChatTemplate`
   */
  encodeChat(messages: readonly ChatMessage[], options: ChatTemplateOptions): Int32Array {
    const { tools } = options;
    const disarmed = tools === undefined ? options : { ...options, tools: this.#controlText.disarmDeep(tools) };
    const text = this.applyChatTemplate(this.#controlText.disarmDeep(messages), disarmed);
    // Whoever has really typed the escape keeps it; then only breaks that a template has written as JSON stay visible.
    const typed = JSON.stringify([messages, tools]).includes(escapedBreak);
    return Int32Array.from(this.#encodeText(typed ? text : this.#controlText.unescapeBreaks(text)));
  }
}
