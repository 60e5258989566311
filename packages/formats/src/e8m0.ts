import { float32ToBits } from "./float32-bits.ts";

/** The one code that is not a power of two. */
const nan = 255;

/**
 * The E8M0 code (OCP Microscaling Formats) of the largest power of two that is at most `scale`, saturating to 2^-127 and
 * 2^127. NaN and negative numbers, which no scale is, become NaN.
 */
export function encodeE8m0(scale: number): number {
  if (!(scale >= 0)) return nan;
  // The exponent field of a float32 has the same bias; its subnormals and infinity lie beyond E8M0 on either side.
  return Math.min(float32ToBits(scale) >>> 23, nan - 1);
}

/** The value 2^(code - 127) of an E8M0 code; 255 is NaN. */
export function decodeE8m0(code: number): number {
  return code === nan ? NaN : 2 ** (code - 127);
}
