/** The number formats, by the name used in code, on the command line and in JSON. */
export type FormatName = "fp32" | "fp16" | "bf16" | "e4m3" | "e5m2" | "e2m1" | "int8" | "int4" | "int3" | "int2";

/** One code per element: 32-bit formats in a Uint32Array, 16-bit ones in a Uint16Array, those of 8 and fewer bits in a Uint8Array. */
export type CodeArray = Uint8Array | Uint16Array | Uint32Array;

/**
 * How one number is coded. Values are float32: a value that is not one is rounded to float32 first, so that a single
 * value and an element of a Float32Array get the same code.
 */
export interface Format {
  readonly name: FormatName;
  /** Integers lie evenly and have one more code below zero than above; floats lie denser near zero and are symmetric. */
  readonly kind: "float" | "integer";
  /** Bits of one code. */
  readonly bits: 32 | 16 | 8 | 4 | 3 | 2;
  /** The largest finite value. Integer formats reach one further below zero: `-max - 1`. */
  readonly max: number;
  /**
   * The code of `value` as an unsigned integer: nearest, ties to even, and what lies beyond the range (infinities
   * included) saturates. NaN gets the format's positive quiet NaN, or 0 where there is none. Only fp32 keeps infinities.
   * Integer codes are two's complement.
   */
  encode(value: number): number;
  /** The value of a code. Bits above `bits` are ignored. */
  decode(code: number): number;
  /** `codes[i] = encode(values[i])` for all i. The arrays have equal lengths. */
  encodeInto(values: Float32Array, codes: CodeArray): void;
  /** `values[i] = decode(codes[i])` for all i. The arrays have equal lengths. */
  decodeInto(codes: CodeArray, values: Float32Array): void;
}
