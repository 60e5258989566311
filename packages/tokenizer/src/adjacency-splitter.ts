/** Shorter texts are merged faster whole than the table of pairs is built. */
const splitFromLength = 1024;

/**
 * Splits text where byte-pair merging can never join it, for vocabularies without a pre-tokenizer (Llama 2, Phi-3), whose
 * whole text would otherwise be one word. A merge makes a token of the vocabulary; when no token holds the character x right
 * before the character y, no merge reaches across "x|y", and both sides can be merged alone with the same result. Pieces
 * repeat, so the encoder's cache answers most of them: English encodes about six times as fast.
 */
export class AdjacencySplitter {
  readonly #tokens: Iterable<string>;
  #pairs: ReadonlySet<string> | undefined;

  constructor(tokens: Iterable<string>) {
    this.#tokens = tokens;
  }

  split(text: string): string[] {
    if (text.length < splitFromLength) return [text];
    this.#pairs ??= adjacentPairs(this.#tokens);
    const pieces: string[] = [];
    let start = 0;
    let position = 0;
    let previous = "";
    for (const character of text) {
      if (previous !== "" && !this.#pairs.has(previous + character)) {
        pieces.push(text.slice(start, position));
        start = position;
      }
      previous = character;
      position += character.length;
    }
    pieces.push(text.slice(start));
    return pieces;
  }
}

function adjacentPairs(tokens: Iterable<string>): ReadonlySet<string> {
  const pairs = new Set<string>();
  for (const token of tokens) {
    let previous = "";
    for (const character of token) {
      if (previous !== "") pairs.add(previous + character);
      previous = character;
    }
  }
  return pairs;
}
