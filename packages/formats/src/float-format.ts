import { bitsOf, float32ToBits } from "./float32-bits.ts";
import type { CodeArray, Format } from "./format.ts";

/** What defines a small binary floating-point format: sign bit, exponent, mantissa, and the meaning of the top codes. */
export interface FloatDefinition {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  /**
   * `ieee`: the highest exponent holds infinity and NaN. `nan-only`: only the code with all magnitude bits set is special,
   * a NaN (the OCP "fn" form). `none`: every code is a finite number.
   */
  readonly specials: "ieee" | "nan-only" | "none";
}

const float32MantissaBits = 23;
const float32Bias = 127;
const float32Infinity = 0x7f800000;

/**
 * A format of 16 bits or fewer, built from its definition. The exponent bias is 2^(exponentBits - 1) - 1 (IEEE 754, OCP
 * 8-bit Floating Point Specification, OCP Microscaling Formats).
 */
export function floatFormat<Name extends Format["name"]>(name: Name, definition: FloatDefinition) {
  const { exponentBits, mantissaBits, specials } = definition;
  const magnitudeBits = exponentBits + mantissaBits;
  const signShift = magnitudeBits;
  const magnitudeMask = 2 ** magnitudeBits - 1;
  const bias = 2 ** (exponentBits - 1) - 1;
  const topExponentCode = (2 ** exponentBits - 1) * 2 ** mantissaBits;
  const [maxCode, nanCode] = {
    ieee: [topExponentCode - 1, topExponentCode + 2 ** (mantissaBits - 1)] as const,
    "nan-only": [magnitudeMask - 1, magnitudeMask] as const,
    none: [magnitudeMask, 0] as const,
  }[specials];
  const max = decodeMagnitude(maxCode);
  const maxPattern = float32ToBits(max);

  // A float32 pattern becomes a code of this format by moving the exponent from one bias to the other and dropping
  // mantissa bits. Below the smallest normal number the exponent stays and more bits are dropped instead.
  const droppedBits = float32MantissaBits - mantissaBits;
  const rebias = (float32Bias - bias) * 2 ** float32MantissaBits;
  const minNormalExponent = float32Bias + 1 - bias;
  const minNormalPattern = rebias === 0 ? 0 : minNormalExponent * 2 ** float32MantissaBits;

  function decodeMagnitude(magnitude: number): number {
    const exponent = magnitude >>> mantissaBits;
    const mantissa = magnitude & (2 ** mantissaBits - 1);
    if (specials === "ieee" && magnitude >= topExponentCode) return mantissa === 0 ? Infinity : NaN;
    if (specials === "nan-only" && magnitude === magnitudeMask) return NaN;
    if (exponent === 0) return mantissa * 2 ** (1 - bias - mantissaBits);
    return (1 + mantissa * 2 ** -mantissaBits) * 2 ** (exponent - bias);
  }

  function encodePattern(pattern: number): number {
    const magnitude = pattern & 0x7fffffff;
    if (magnitude > float32Infinity) return nanCode;
    const sign = (pattern >>> 31) << signShift;
    if (magnitude >= maxPattern) return sign | maxCode;
    if (magnitude >= minNormalPattern) return sign | shiftRightHalfEven(magnitude - rebias, droppedBits);
    const exponent = magnitude >>> float32MantissaBits;
    const shift = droppedBits + minNormalExponent - exponent;
    // Beyond 24 dropped bits the value is under half of the smallest subnormal. This also covers float32 subnormals.
    if (shift > 24) return sign;
    return sign | shiftRightHalfEven((magnitude & 0x7fffff) | 0x800000, shift);
  }

  let table: Float32Array | undefined; // [2^bits], built from the definition at first use
  function decodeTable(): Float32Array {
    if (table === undefined) {
      const size = 2 ** magnitudeBits;
      table = new Float32Array(2 * size);
      for (let magnitude = 0; magnitude < size; magnitude++) {
        table[magnitude] = decodeMagnitude(magnitude);
        table[magnitude + size] = -decodeMagnitude(magnitude);
      }
    }
    return table;
  }

  const bits = (magnitudeBits + 1) as 16 | 8 | 4;
  const codeMask = 2 ** bits - 1;
  return {
    name,
    kind: "float",
    bits,
    max,
    encode: (value: number) => encodePattern(float32ToBits(value)),
    decode: (code: number) => decodeTable()[code & codeMask]!,
    encodeInto(values: Float32Array, codes: CodeArray) {
      const patterns = bitsOf(values);
      for (let i = 0; i < patterns.length; i++) codes[i] = encodePattern(patterns[i]!);
    },
    decodeInto(codes: CodeArray, values: Float32Array) {
      const decoded = decodeTable();
      for (let i = 0; i < codes.length; i++) values[i] = decoded[codes[i]! & codeMask]!;
    },
  } as const satisfies Format;
}

/** `round(number / 2^shift)`, ties to even, for unsigned integers below 2^31 and shifts of 1 to 24. */
function shiftRightHalfEven(number: number, shift: number): number {
  const lowestKept = (number >>> shift) & 1;
  return (number + (1 << (shift - 1)) - 1 + lowestKept) >>> shift;
}
