/** Words that hold `count` values of `bits` bits. */
export function packedWords(count: number, bits: number): number {
  return Math.ceil((count * bits) / 32);
}

/**
 * Packs unsigned values bit after bit, the first one lowest: value i takes bits `i * bits` and up of the little-endian words,
 * so that one of 3 bits may lie in two words. Bits after the last value are 0. (`pack_to_int32` of compressed-tensors,
 * src/compressed_tensors/compressors/pack_quantized/helpers.py.)
 */
export function packWords(
  values: Uint8Array, // [count], below 2^bits
  bits: number,
  words: Uint32Array, // [packedWords(count, bits)]
): void {
  let word = 0;
  let filled = 0;
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    word |= value << filled;
    filled += bits;
    if (filled < 32) continue;
    words[at++] = word;
    filled -= 32;
    word = filled === 0 ? 0 : value >>> (bits - filled);
  }
  if (filled > 0) words[at] = word;
}

/** Unpacks what `packWords` has packed. */
export function unpackWords(words: Uint32Array, bits: number, values: Uint8Array): void {
  const mask = 2 ** bits - 1;
  for (let i = 0; i < values.length; i++) {
    const first = i * bits;
    const at = first >>> 5;
    const shift = first & 31;
    const low = words[at]! >>> shift;
    const high = shift + bits > 32 ? words[at + 1]! << (32 - shift) : 0;
    values[i] = (low | high) & mask;
  }
}

/** Values of 3 bits in a word as older writers pack them; its two upper bits stay empty. */
const paddedPerWord = 10;

/** Words that hold `count` values of 3 bits as compressed-tensors before pull request 732 (June 2026) packed them. */
export function paddedWords(count: number): number {
  return Math.ceil(count / paddedPerWord);
}

/** Unpacks values of 3 bits that no two words share. */
export function unpackPaddedWords(words: Uint32Array, values: Uint8Array): void {
  for (let i = 0; i < values.length; i++) {
    values[i] = (words[Math.floor(i / paddedPerWord)]! >>> (3 * (i % paddedPerWord))) & 7;
  }
}
