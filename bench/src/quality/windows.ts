/** Longest window; comparable between models of any longer context. */
export const maxWindowTokens = 1024;

/** A stretch of text that is evaluated at once. */
export interface Window {
  /** Token ids with the beginning of sequence first, where the model has one. */
  readonly tokenIds: Int32Array;
  /** Position whose next token is the first that no earlier window has scored. */
  readonly from: number;
}

/**
 * Cuts tokens into overlapping windows so that each token is scored exactly once, and all but the first window's with at
 * least half a window of context before it.
 * @param tokenIds `[tokens]` a text without beginning of sequence
 * @param windowTokens length of a window, its beginning of sequence included; at least 4
 * @param beginning id that every window begins with; undefined: none, and the text's first token is not scored
 */
export function* windows(tokenIds: Int32Array, windowTokens: number, beginning: number | undefined): Generator<Window> {
  const lead = beginning === undefined ? 0 : 1;
  const size = windowTokens - lead;
  const stride = Math.floor(windowTokens / 2);
  // Index into tokenIds of the first token not yet scored.
  let next = 1 - lead;
  for (let start = 0; next < tokenIds.length; start += stride) {
    const content = tokenIds.subarray(start, start + size);
    const ids = new Int32Array(lead + content.length);
    if (beginning !== undefined) ids[0] = beginning;
    ids.set(content, lead);
    yield { tokenIds: ids, from: next - start + lead - 1 };
    next = start + content.length;
  }
}
