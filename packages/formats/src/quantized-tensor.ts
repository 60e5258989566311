import { KvantError } from "@kvant/core";
import type { Format } from "./format.ts";
import { type Granularity, spreadOverRow } from "./granularity.ts";
import { nibbleRowBytes, packNibbles, unpackNibbles } from "./nibbles.ts";
import { formats } from "./registry.ts";
import { type WeightFormat, weightFormatName } from "./weight-format.ts";

/** A matrix [rows, cols] as codes and scales. */
export interface QuantizedTensor {
  readonly weightFormat: WeightFormat;
  readonly rows: number;
  readonly cols: number;
  /** [rows, rowBytes]: one 8-bit code per byte, or two 4-bit codes, low nibble first, each row padded to a whole byte. */
  readonly codes: Uint8Array;
  /** [scaleCount]. A scale of 0 belongs to values that are all zero (or too small for any scale); their codes are 0. */
  readonly scales: Float32Array;
  /** [scaleCount], affine formats only: the code of zero. */
  readonly zeroPoints: Int8Array | undefined;
  /**
   * NVFP4 only: the float32 that all scales are multiples of, `scale = fround(e4m3 * tensorScale)`. Backends that hold the
   * E4M3 numbers need it to find them again.
   */
  readonly tensorScale?: number | undefined;
}

/** The parts of a weight format that has scales. */
export interface ScaledFormat {
  readonly format: Format;
  readonly granularity: Granularity;
}

/**
 * Checks the operands of a quantizer.
 * @throws KvantError INVALID_ARGUMENT if the shape does not match the values or the format has no scales
 */
export function scaledFormat(
  weightFormat: WeightFormat,
  values: Float32Array,
  rows: number,
  cols: number,
): ScaledFormat {
  if (!Number.isSafeInteger(rows) || !Number.isSafeInteger(cols) || rows < 0 || cols < 0) {
    throw new KvantError("INVALID_ARGUMENT", `[${rows}, ${cols}] is not a matrix shape`);
  }
  if (values.length !== rows * cols) {
    throw new KvantError("INVALID_ARGUMENT", `${values.length} values do not fill a matrix [${rows}, ${cols}]`);
  }
  const { granularity } = weightFormat;
  if (granularity === undefined) {
    const name = weightFormatName(weightFormat);
    throw new KvantError("INVALID_ARGUMENT", `${name} has no scales: encode it with encodeArray("${name}", values)`);
  }
  return { format: formats[weightFormat.format], granularity };
}

/** Bytes of one row of codes of an 8-bit or 4-bit format. */
export function codeRowBytes(format: Format, cols: number): number {
  return format.bits === 4 ? nibbleRowBytes(cols) : cols;
}

/** Writes one row of codes (one per element) where it lies in the tensor's codes. */
export function storeCodeRow(format: Format, rowCodes: Uint8Array, codes: Uint8Array, row: number): void {
  const bytes = codeRowBytes(format, rowCodes.length);
  const target = codes.subarray(row * bytes, (row + 1) * bytes);
  if (format.bits === 4) packNibbles(rowCodes, target);
  else target.set(rowCodes);
}

/**
 * The values [rows, cols] of a quantized matrix: `fround(scale * decode(code))`, with zero points
 * `fround(scale * (decode(code) - zeroPoint))`.
 */
export function dequantize(tensor: QuantizedTensor): Float32Array {
  const { rows, cols, codes, scales, zeroPoints } = tensor;
  const values = new Float32Array(rows * cols);
  const { format, granularity } = scaledFormat(tensor.weightFormat, values, rows, cols);
  const bytes = codeRowBytes(format, cols);
  const rowCodes = new Uint8Array(cols);
  const rowScales = new Float32Array(cols);
  const rowZeros = new Float32Array(cols);
  for (let row = 0; row < rows; row++) {
    const packed = codes.subarray(row * bytes, (row + 1) * bytes);
    if (format.bits === 4) unpackNibbles(packed, rowCodes);
    const rowValues = values.subarray(row * cols, (row + 1) * cols);
    format.decodeInto(format.bits === 4 ? rowCodes : packed, rowValues);
    spreadOverRow(granularity, scales, row, rowScales);
    if (zeroPoints !== undefined) spreadOverRow(granularity, zeroPoints, row, rowZeros);
    for (let col = 0; col < cols; col++) rowValues[col] = (rowValues[col]! - rowZeros[col]!) * rowScales[col]!;
  }
  return values;
}
