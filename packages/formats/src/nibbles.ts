/** Bytes of a row of `cols` 4-bit codes: two per byte, an odd row padded to a whole byte. */
export function nibbleRowBytes(cols: number): number {
  return Math.ceil(cols / 2);
}

/** Packs one row of 4-bit codes, low nibble first; the padding nibble of an odd row is 0. */
export function packNibbles(codes: Uint8Array, packed: Uint8Array): void {
  for (let byte = 0; byte < packed.length; byte++) {
    packed[byte] = (codes[2 * byte]! & 15) | ((codes[2 * byte + 1] ?? 0) << 4);
  }
}

/** Unpacks one row of 4-bit codes, low nibble first. */
export function unpackNibbles(packed: Uint8Array, codes: Uint8Array): void {
  for (let i = 0; i < codes.length; i++) {
    codes[i] = (packed[i >>> 1]! >>> (4 * (i & 1))) & 15;
  }
}
