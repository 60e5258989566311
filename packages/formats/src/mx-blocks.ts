import { KvantError } from "@kvant/core";
import { decodeE8m0 } from "./e8m0.ts";
import { formats } from "./registry.ts";
import { largestMagnitude, mxScale } from "./scale-of-range.ts";

/** Values that share one scale in the MX formats. */
export const mxBlockSize = 32;

/** Element formats of the MX formats that are built: MXFP4, and MXFP8 in two forms. */
export type MxElement = "e2m1" | "e4m3" | "e5m2";

/** Values in an MX format (OCP Microscaling Formats): per block of 32 one power of two as an E8M0 code. */
export interface MxBlocks {
  readonly element: MxElement;
  /** [values], one code per byte. */
  readonly codes: Uint8Array;
  /** [ceil(values / 32)] */
  readonly scales: Uint8Array;
}

/**
 * Quantizes neighbours in blocks of 32, the last one possibly shorter. A block's scale is
 * `2^(floor(log2(absmax)) - floor(log2(element max)))`, and elements saturate, as the specification's conversion does.
 * NaN does not count into the scale; infinity counts as the largest float32.
 */
export function quantizeMx(element: MxElement, values: Float32Array): MxBlocks {
  const format = formats[element];
  const scales = new Uint8Array(Math.ceil(values.length / mxBlockSize));
  const quotients = new Float32Array(values.length);
  for (let block = 0; block < scales.length; block++) {
    const start = block * mxBlockSize;
    const end = Math.min(start + mxBlockSize, values.length);
    scales[block] = mxScale(format, largestMagnitude(values, start, end));
    const scale = decodeE8m0(scales[block]!);
    for (let i = start; i < end; i++) quotients[i] = values[i]! / scale;
  }
  const codes = new Uint8Array(values.length);
  format.encodeInto(quotients, codes);
  return { element, codes, scales };
}

/**
 * The values of MX blocks. A block whose scale is NaN is NaN throughout.
 * @throws KvantError INVALID_ARGUMENT if there is not one scale per block
 */
export function dequantizeMx({ element, codes, scales }: MxBlocks): Float32Array {
  if (scales.length !== Math.ceil(codes.length / mxBlockSize)) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${scales.length} scales do not match ${codes.length} codes in blocks of 32`,
    );
  }
  const values = new Float32Array(codes.length);
  formats[element].decodeInto(codes, values);
  return values.map((value, i) => value * decodeE8m0(scales[Math.floor(i / mxBlockSize)]!));
}
