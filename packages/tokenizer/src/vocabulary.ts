import type { TokenDecoder } from "./token-decoder.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Control tokens steer the model (begin, end, roles); they are no text, and text must not turn into them. */
  readonly isControl: boolean;
}

export interface VocabularyParts {
  /** [id] tokens of the model as it spells them; holes are undefined. */
  readonly tokens: readonly (string | undefined)[];
  readonly added: readonly AddedToken[];
  readonly decoder: TokenDecoder;
}

const strictUtf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** The bytes behind every token id. */
export class Vocabulary {
  /** One more than the largest id. */
  readonly size: number;
  readonly stripsLeadingSpace: boolean;
  /** The control tokens as text. */
  readonly controlContents: readonly string[];
  readonly #tokens: readonly (string | undefined)[];
  readonly #added: ReadonlyMap<number, AddedToken>;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #decoder: TokenDecoder;
  // [id] filled on first use. Made in full length: arrays that are filled here and there become hash tables.
  readonly #bytes: (Uint8Array | undefined)[];
  readonly #plainTexts: (string | null | undefined)[];

  constructor({ tokens, added, decoder }: VocabularyParts) {
    this.#tokens = tokens;
    this.#added = new Map(added.map((token) => [token.id, token]));
    this.#ids = new Map(added.map((token) => [token.content, token.id]));
    this.#decoder = decoder;
    this.size = added.reduce((size, { id }) => Math.max(size, id + 1), tokens.length);
    this.#bytes = Array.from({ length: this.size }, () => undefined);
    this.#plainTexts = Array.from({ length: this.size }, () => undefined);
    this.stripsLeadingSpace = decoder.stripsLeadingSpace;
    this.controlContents = added.filter((token) => token.isControl).map((token) => token.content);
  }

  /** The bytes a token stands for; undefined for ids without a token. */
  bytes(id: number): Uint8Array | undefined {
    const known = this.#bytes[id];
    if (known !== undefined) return known;
    const added = this.#added.get(id);
    const token = this.#tokens[id];
    if (added === undefined && token === undefined) return undefined;
    const bytes = added !== undefined ? this.#decoder.bytesOfAdded(added.content) : this.#decoder.bytesOf(token!);
    this.#bytes[id] = bytes;
    return bytes;
  }

  /**
   * The text of a token that is made of whole characters and is no control token, as nearly all are; null for the others and
   * for ids without a token.
   */
  plainText(id: number): string | null {
    const known = this.#plainTexts[id];
    if (known !== undefined) return known;
    const bytes = this.bytes(id);
    // Ids come from outside: what is no token leaves no entry.
    if (bytes === undefined) return null;
    const text = this.isControl(id) ? null : wholeText(bytes);
    this.#plainTexts[id] = text;
    return text;
  }

  isControl(id: number): boolean {
    return this.#added.get(id)?.isControl === true;
  }

  /** The id of an added token, such as `<|im_end|>`. */
  addedId(content: string): number | undefined {
    return this.#ids.get(content);
  }
}

function wholeText(bytes: Uint8Array): string | null {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return null;
  }
}
