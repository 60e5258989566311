import { KvantError } from "@kvant/core";
import { codeRowBytes, storeCodeRow } from "./code-rows.ts";
import type { Format } from "./format.ts";
import { scaleCount, spreadOverRow } from "./granularity.ts";
import { type QuantizedTensor, scaledFormat } from "./quantized-tensor.ts";
import { roundHalfEven } from "./round-half-even.ts";
import { type WeightFormat, weightFormatName } from "./weight-format.ts";

/**
 * The codes of a matrix [rows, cols] under given scales, whoever chose them. All arithmetic is float32, and rounding is to
 * nearest, ties to even, so that native code gets the same bits:
 *
 *     symmetric   code = encode(clamp(x / scale, -max, max))
 *     affine      code = clamp(round(x / scale) + zeroPoint, low, max)       low = -max - 1
 *
 * `x / scale` is a division, not a product with 1 / scale. Symmetric integer codes stay within -max..max. NaN becomes 0 in
 * integer formats and E2M1 (the code of zero if affine) and NaN in FP8. Where a scale is 0, the code is that of zero.
 * @throws KvantError INVALID_ARGUMENT if sizes do not match, zero points are absent from an affine format or given to another,
 * a scale is not a finite number from 0 up, or a zero point is not a code
 */
export function encodeWithScales(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
  scales: Float32Array, // [scaleCount]
  zeroPoints: Int8Array | undefined, // [scaleCount], affine formats only
): QuantizedTensor {
  const { format, granularity } = scaledFormat(weightFormat, values, rows, cols);
  checkScales(weightFormat, format, scaleCount(granularity, [rows, cols]), scales, zeroPoints);
  const codes = new Uint8Array(rows * codeRowBytes(format, cols));
  const rowScales = new Float32Array(cols);
  const rowZeros = new Float32Array(cols);
  const quotients = new Float32Array(cols);
  const rowCodes = new Uint8Array(cols);
  for (let row = 0; row < rows; row++) {
    const rowValues = values.subarray(row * cols, (row + 1) * cols);
    spreadOverRow(granularity, scales, row, rowScales);
    for (let col = 0; col < cols; col++) quotients[col] = quotient(rowValues[col]!, rowScales[col]!);
    if (zeroPoints === undefined) {
      // Encoding saturates at max; integers have a code below -max.
      for (let col = 0; col < cols; col++) quotients[col] = Math.max(-format.max, quotients[col]!);
    } else {
      spreadOverRow(granularity, zeroPoints, row, rowZeros);
      for (let col = 0; col < cols; col++) quotients[col] = shiftedInteger(quotients[col]!, rowZeros[col]!, format.max);
    }
    format.encodeInto(quotients, rowCodes);
    storeCodeRow(format, rowCodes, codes, row);
  }
  return { weightFormat, rows, cols, codes, scales, zeroPoints };
}

function quotient(value: number, scale: number): number {
  return scale === 0 ? 0 : Math.fround(value / scale);
}

/** `clamp(round(quotient) + zeroPoint, -max - 1, max)`; NaN gives the zero point. */
function shiftedInteger(quotient: number, zeroPoint: number, max: number): number {
  if (Number.isNaN(quotient)) return zeroPoint;
  const low = -max - 1;
  // Clamped before rounding as well: roundHalfEven holds for |x| < 2^51 only.
  const rounded = roundHalfEven(clamp(quotient, 2 * low, 2 * max + 1));
  return clamp(rounded + zeroPoint, low, max);
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}

function checkScales(
  weightFormat: WeightFormat,
  format: Format,
  count: number,
  scales: Float32Array,
  zeroPoints: Int8Array | undefined,
): void {
  const name = weightFormatName(weightFormat);
  if (scales.length !== count) throw invalid(`${scales.length} scales are given where ${name} has ${count}`);
  const scale = scales.find((each) => !(each >= 0 && each < Infinity));
  if (scale !== undefined) throw invalid(`a scale is a finite number from 0 up, not ${scale}`);
  if (weightFormat.affine !== (zeroPoints !== undefined)) {
    throw invalid(`${name} ${weightFormat.affine ? "needs" : "has no"} zero points`);
  }
  if (zeroPoints === undefined) return;
  if (zeroPoints.length !== count) throw invalid(`${zeroPoints.length} zero points go with ${count} scales`);
  const zeroPoint = zeroPoints.find((each) => each < -format.max - 1 || each > format.max);
  if (zeroPoint !== undefined) throw invalid(`zero point ${zeroPoint} is no code of ${format.name}`);
}

function invalid(message: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", message);
}
