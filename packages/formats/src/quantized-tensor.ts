import { KvantError } from "@kvant/core";
import { loadCodeRow } from "./code-rows.ts";
import type { Format } from "./format.ts";
import { type Granularity, spreadOverRow } from "./granularity.ts";
import { formats } from "./registry.ts";
import { type WeightFormat, weightFormatName } from "./weight-format.ts";

/** A matrix [rows, cols] as codes and scales. */
export interface QuantizedTensor {
  readonly weightFormat: WeightFormat;
  readonly rows: number;
  readonly cols: number;
  /**
   * [rows, rowBytes]: one 8-bit code per byte, or two 4-bit codes, low nibble first, each row padded to a whole byte. int3 and
   * int2 codes lie in two's complement nibbles as int4's do.
   */
  readonly codes: Uint8Array;
  /** [scaleCount]. A scale of 0 belongs to values that are all zero (or too small for any scale); their codes are 0. */
  readonly scales: Float32Array;
  /** [scaleCount], affine formats only: the code of zero. */
  readonly zeroPoints: Int8Array | undefined;
  /** NVFP4 only: the float32 that its E4M3 scales are multiplied by. `scales` hold the products. */
  readonly tensorScale?: number;
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

/**
 * The values [rows, cols] of a quantized matrix: `fround(scale * decode(code))`, with zero points
 * `fround(scale * (decode(code) - zeroPoint))`.
 */
export function dequantize(tensor: QuantizedTensor): Float32Array {
  const { rows, cols, codes, scales, zeroPoints } = tensor;
  const values = new Float32Array(rows * cols);
  const { format, granularity } = scaledFormat(tensor.weightFormat, values, rows, cols);
  const rowCodes = new Uint8Array(cols);
  const rowScales = new Float32Array(cols);
  const rowZeros = new Float32Array(cols);
  for (let row = 0; row < rows; row++) {
    loadCodeRow(format, codes, row, rowCodes);
    const rowValues = values.subarray(row * cols, (row + 1) * cols);
    format.decodeInto(rowCodes, rowValues);
    spreadOverRow(granularity, scales, row, rowScales);
    if (zeroPoints !== undefined) spreadOverRow(granularity, zeroPoints, row, rowZeros);
    for (let col = 0; col < cols; col++) rowValues[col] = (rowValues[col]! - rowZeros[col]!) * rowScales[col]!;
  }
  return values;
}
