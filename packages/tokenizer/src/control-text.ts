/**
 * A lone surrogate. Well-formed text holds none, so it can be put into text as a mark and taken out again without touching
 * anything that a user has written.
 */
export const controlBreak = "\uDFFF";

/** A break as JSON writes it. */
export const escapedBreak = JSON.stringify(controlBreak).slice(1, -1);

/** Keeps the text of control tokens (`<|im_end|>`) from being read as the tokens themselves. */
export class ControlText {
  readonly #pattern: RegExp | undefined;

  constructor(contents: readonly string[]) {
    // A token of one character has no inside to break; no known vocabulary has such a control token.
    const alternatives = contents.filter((content) => [...content].length > 1).sort((a, b) => b.length - a.length);
    this.#pattern = alternatives.length === 0 ? undefined : new RegExp(alternatives.map(escapeRegExp).join("|"), "gu");
  }

  /**
   * The text with a `controlBreak` inside every control token it spells, so that none is recognized; the encoder drops the
   * breaks before it looks at the text. Lone surrogates become U+FFFD, as they would in UTF-8.
   */
  disarm(text: string): string {
    const wellFormed = wellFormedText(text);
    const pattern = this.#pattern;
    if (pattern === undefined) return wellFormed;
    let disarmed = "";
    let done = 0;
    pattern.lastIndex = 0;
    for (let match = pattern.exec(wellFormed); match !== null; match = pattern.exec(wellFormed)) {
      const cut = match.index + String.fromCodePoint(match[0].codePointAt(0)!).length;
      disarmed += wellFormed.slice(done, cut) + controlBreak;
      done = cut;
      pattern.lastIndex = cut; // another token may begin inside this one
    }
    return done === 0 ? wellFormed : disarmed + wellFormed.slice(done);
  }

  /** Undoes what JSON makes of a break: `tojson` in a template writes it as the six characters `\udfff`. */
  unescapeBreaks(text: string): string {
    return text.replaceAll(escapedBreak, controlBreak);
  }

  /** The same for every string inside a JSON-like value. */
  disarmDeep<T>(value: T): T {
    return this.#disarmValue(value) as T;
  }

  #disarmValue(value: unknown): unknown {
    if (typeof value === "string") return this.disarm(value);
    if (Array.isArray(value)) return value.map((each) => this.#disarmValue(each));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, this.#disarmValue(each)]));
  }
}

/** Lone surrogates, which no UTF-8 has, become U+FFFD. */
export function wellFormedText(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\uFFFD");
}

function escapeRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
