const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The bit pattern of `value` rounded to float32. */
export function float32ToBits(value: number): number {
  float[0] = value;
  return bits[0]!;
}

/** The float32 with this bit pattern. */
export function bitsToFloat32(pattern: number): number {
  bits[0] = pattern;
  return float[0]!;
}

/** The bit patterns of an array of float32 values, without a copy. */
export function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}
