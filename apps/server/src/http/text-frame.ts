/** The event of a text and no more: all that stands around the text is the same as long as a stream lasts. */
export class TextFrame {
  readonly #opening: string;
  readonly #closing: string;
  /** Of what stands around. */
  readonly #byteLength: number;

  constructor(opening: readonly string[], closing: string) {
    // A joined string is in one piece; one that was added up would be walked piece by piece with every event.
    this.#opening = opening.join("");
    this.#closing = closing;
    this.#byteLength = Buffer.byteLength(this.#opening) + Buffer.byteLength(closing);
  }

  event(json: string): string {
    return this.#opening + json + this.#closing;
  }

  /** Of `event(json)` in UTF-8, without putting it together. */
  byteLength(json: string): number {
    return this.#byteLength + (isAscii(json) ? json.length : Buffer.byteLength(json));
  }
}

/** Most tokens are a few letters: asking for their length in UTF-8 costs more than looking at them. */
function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
