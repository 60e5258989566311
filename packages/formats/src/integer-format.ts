import type { CodeArray, Format } from "./format.ts";
import { roundHalfEven } from "./round-half-even.ts";

/** A two's complement integer format of 2, 3, 4 or 8 bits. NaN encodes to 0. */
export function integerFormat<Name extends Format["name"]>(name: Name, bits: 8 | 4 | 3 | 2) {
  const max = 2 ** (bits - 1) - 1;
  const min = -max - 1;
  const codeMask = 2 ** bits - 1;
  const signExtension = 32 - bits;

  const encode = (value: number) => {
    const clamped = Math.max(min, Math.min(max, value));
    return roundHalfEven(Math.fround(clamped)) & codeMask;
  };
  const decode = (code: number) => (code << signExtension) >> signExtension;
  return {
    name,
    kind: "integer",
    bits,
    max,
    encode,
    decode,
    encodeInto(values: Float32Array, codes: CodeArray) {
      for (let i = 0; i < values.length; i++) codes[i] = encode(values[i]!);
    },
    decodeInto(codes: CodeArray, values: Float32Array) {
      for (let i = 0; i < codes.length; i++) values[i] = decode(codes[i]!);
    },
  } as const satisfies Format;
}
