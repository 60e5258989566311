import { KvantError } from "@kvant/core";
import type { CodeArray, FormatName } from "./format.ts";
import { formats } from "./registry.ts";

/** A zeroed array for `length` codes of a format, one code per element. */
export function codeArray(name: FormatName, length: number): CodeArray {
  switch (formats[name].bits) {
    case 32:
      return new Uint32Array(length);
    case 16:
      return new Uint16Array(length);
    default:
      return new Uint8Array(length);
  }
}

/**
 * Encodes an array, one code per element (4-bit codes are not packed; see `packNibbles`). Writes into `codes` if given.
 * @throws KvantError INVALID_ARGUMENT if `codes` has another length or too narrow elements
 */
export function encodeArray(
  name: FormatName,
  values: Float32Array,
  codes: CodeArray = codeArray(name, values.length),
): CodeArray {
  checkCodes(name, codes, values.length);
  formats[name].encodeInto(values, codes);
  return codes;
}

/**
 * Decodes one code per element. Writes into `values` if given.
 * @throws KvantError INVALID_ARGUMENT if the lengths differ or the code elements are too narrow
 */
export function decodeArray(
  name: FormatName,
  codes: CodeArray,
  values: Float32Array = new Float32Array(codes.length),
): Float32Array {
  checkCodes(name, codes, values.length);
  formats[name].decodeInto(codes, values);
  return values;
}

/** `value` rounded to a format, back as a number: `decode(encode(value))`. */
export function roundTo(name: FormatName, value: number): number {
  const format = formats[name];
  return format.decode(format.encode(value));
}

function checkCodes(name: FormatName, codes: CodeArray, length: number): void {
  if (codes.length !== length) {
    throw new KvantError("INVALID_ARGUMENT", `${codes.length} codes do not match ${length} values`);
  }
  const { bits } = formats[name];
  if (codes.BYTES_PER_ELEMENT * 8 < bits) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${name} codes have ${bits} bits and do not fit elements of ${codes.BYTES_PER_ELEMENT} bytes`,
    );
  }
}
