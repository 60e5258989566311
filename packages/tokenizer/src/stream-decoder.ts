import type { Vocabulary } from "./vocabulary.ts";

export interface StreamDecoderOptions {
  /** Leaves control tokens out of the text. Default true. */
  readonly skipSpecial?: boolean;
  /**
   * The tokens continue a text that came before (a completion after its prompt), so the first word keeps the space that
   * SentencePiece vocabularies put before it. Default false.
   */
  readonly continuing?: boolean;
}

/**
 * Turns tokens into text as they come. A character is given out when its last byte has come, never in part; bytes that can
 * no longer become a character come out as U+FFFD, by the rule of the WHATWG encoding standard. The cost of a push depends
 * on its own tokens alone.
 */
export class StreamDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #skipSpecial: boolean;
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #stripsSpace: boolean;
  /** Whether `#utf8` certainly holds no part of a character. */
  #isBetweenCharacters = true;

  constructor(vocabulary: Vocabulary, { skipSpecial = true, continuing = false }: StreamDecoderOptions = {}) {
    this.#vocabulary = vocabulary;
    this.#skipSpecial = skipSpecial;
    this.#stripsSpace = vocabulary.stripsLeadingSpace && !continuing;
  }

  /** The text that has become complete with these tokens. Ids without a token add nothing. */
  push(ids: Iterable<number>): string {
    let text = "";
    for (const id of ids) text += this.#piece(id);
    return this.#stripped(text);
  }

  /** `push` of one. */
  pushToken(id: number): string {
    return this.#stripped(this.#piece(id));
  }

  /** What is left: U+FFFD for a character whose last bytes never came. The decoder then starts afresh. */
  finish(): string {
    this.#isBetweenCharacters = true;
    return this.#stripped(this.#utf8.decode());
  }

  // Nearly every token is whole characters, whose text is known: a TextDecoder costs more than all else in a token.
  #piece(id: number): string {
    const plain = this.#vocabulary.plainText(id);
    if (plain !== null && this.#isBetweenCharacters) return plain;
    if (this.#skipSpecial && this.#vocabulary.isControl(id)) return "";
    const bytes = this.#vocabulary.bytes(id);
    if (bytes === undefined) return "";
    // Whole characters end what was begun before them, well or with U+FFFD.
    this.#isBetweenCharacters = plain !== null && plain !== "";
    return this.#utf8.decode(bytes, { stream: true });
  }

  #stripped(text: string): string {
    if (!this.#stripsSpace || text === "") return text;
    this.#stripsSpace = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  }
}
