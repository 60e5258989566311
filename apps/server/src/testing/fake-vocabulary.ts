/** Tokens of the fake model: the 256 bytes, begin and end of sequence, then words, some of more than one UTF-8 byte. */
const words = " one two three four five six seven eight nine ten naïve café 日本 🙂 end.\n".split(/(?= )/u);

export const beginOfSequence = 256;
export const endOfSequence = 257;
export const firstWord = 258;
export const wordCount = words.length;
export const vocabSize = firstWord + wordCount;

const encoder = new TextEncoder();

/** Bytes of one token; the two markers have none. */
export function tokenBytes(tokenId: number): Uint8Array {
  if (tokenId < 256) return Uint8Array.of(tokenId);
  return encoder.encode(words[tokenId - firstWord] ?? "");
}

/** Byte tokens of a text after the begin marker. */
export function encodeText(text: string, addSpecialTokens: boolean): number[] {
  const bytes = [...encoder.encode(text)];
  return addSpecialTokens ? [beginOfSequence, ...bytes] : bytes;
}

export function decodeTokens(tokenIds: readonly number[]): string {
  return Buffer.concat(tokenIds.map(tokenBytes)).toString("utf8");
}
