import type { Format } from "./format.ts";
import { nibbleRowBytes, packNibbles, unpackNibbles } from "./nibbles.ts";

/** Whether codes lie two per byte: those of 4 bits, and those of 3 and 2 bits, which take the place of 4-bit ones. */
function liesInNibbles({ bits }: Format): boolean {
  return bits <= 4;
}

/** Bytes of one row of codes: whole bytes of nibbles for formats of 4 and fewer bits. */
export function codeRowBytes(format: Format, cols: number): number {
  return liesInNibbles(format) ? nibbleRowBytes(cols) : (cols * format.bits) / 8;
}

/**
 * Writes one row of codes (one per element) where it lies in the codes of a matrix. 3-bit and 2-bit integers are extended to
 * two's complement nibbles, so that whoever reads int4 codes reads them too.
 */
export function storeCodeRow(
  format: Format,
  rowCodes: Uint8Array, // [cols]; narrow integers are extended in place
  codes: Uint8Array, // [rows, rowBytes]
  row: number,
): void {
  const bytes = codeRowBytes(format, rowCodes.length);
  const target = codes.subarray(row * bytes, (row + 1) * bytes);
  if (!liesInNibbles(format)) {
    target.set(rowCodes);
    return;
  }
  if (format.bits < 4) for (let i = 0; i < rowCodes.length; i++) rowCodes[i] = format.decode(rowCodes[i]!);
  packNibbles(rowCodes, target);
}

/** Reads one row of codes, one per element. Of codes that lie in nibbles, the upper four bits are 0. */
export function loadCodeRow(
  format: Format,
  codes: Uint8Array, // [rows, rowBytes]
  row: number,
  rowCodes: Uint8Array, // [cols]
): void {
  const bytes = codeRowBytes(format, rowCodes.length);
  const source = codes.subarray(row * bytes, (row + 1) * bytes);
  if (liesInNibbles(format)) unpackNibbles(source, rowCodes);
  else rowCodes.set(source);
}
