import { bitsOf, bitsToFloat32, float32ToBits } from "./float32-bits.ts";
import type { CodeArray, Format } from "./format.ts";

/** IEEE 754 binary32. The identity on float32 values, infinities and NaN payloads included. */
export const fp32 = {
  name: "fp32",
  kind: "float",
  bits: 32,
  max: (2 - 2 ** -23) * 2 ** 127,
  encode: float32ToBits,
  decode: bitsToFloat32,
  encodeInto(values: Float32Array, codes: CodeArray) {
    codes.set(bitsOf(values));
  },
  decodeInto(codes: CodeArray, values: Float32Array) {
    bitsOf(values).set(codes);
  },
} as const satisfies Format;
