import { KvantError } from "@kvant/core";
import { fp32 } from "./fp32.ts";
import { forEachScale, scaleCount, spreadOverRow } from "./granularity.ts";
import { codeRowBytes, type QuantizedTensor, scaledFormat, storeCodeRow } from "./quantized-tensor.ts";
import { roundHalfEven } from "./round-half-even.ts";
import { type WeightFormat, weightFormatName } from "./weight-format.ts";

/**
 * Affine quantization of a matrix [rows, cols] to int8 or int4 over the range of each group, widened to contain zero so
 * that zero has a code of its own and decodes to exactly 0. In float32, with codes from `low` = -2^(bits-1) to `high`:
 *
 *     scale     = largest / (high - low) - smallest / (high - low)
 *     zeroPoint = clamp(round(low - smallest / scale))
 *     code      = clamp(round(x / scale) + zeroPoint)
 *
 * Rounding is to nearest, ties to even. NaN takes the code of zero; infinities count as the largest float32. A scale of 0
 * (all values zero) goes with zero point and codes 0.
 * @throws KvantError INVALID_ARGUMENT if the shape does not match the values or the weight format is not affine int8 or int4
 */
export function quantizeAffine(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
): QuantizedTensor {
  const { format, granularity } = scaledFormat(weightFormat, values, rows, cols);
  if (!weightFormat.affine || (format.name !== "int8" && format.name !== "int4")) {
    throw new KvantError("INVALID_ARGUMENT", `${weightFormatName(weightFormat)} is not an affine int8 or int4 format`);
  }
  const high = format.max;
  const low = -high - 1;
  const count = scaleCount(granularity, [rows, cols]);
  const scales = new Float32Array(count);
  const zeroPoints = new Int8Array(count);
  forEachScale(granularity, [rows, cols], (index, start, end, stride) => {
    let smallest = 0;
    let largest = 0;
    for (let i = start; i < end; i += stride) {
      if (values[i]! < smallest) smallest = values[i]!;
      if (values[i]! > largest) largest = values[i]!;
    }
    smallest = Math.max(smallest, -fp32.max);
    // The two quotients are taken apart: the range of a float32 group may itself exceed float32.
    const steps = high - low;
    const scale = Math.fround(Math.fround(Math.min(largest, fp32.max) / steps) - Math.fround(smallest / steps));
    scales[index] = scale;
    zeroPoints[index] = scale === 0 ? 0 : clamp(roundHalfEven(low - Math.fround(smallest / scale)), low, high);
  });

  const codes = new Uint8Array(rows * codeRowBytes(format, cols));
  const rowScales = new Float32Array(cols);
  const rowZeros = new Float32Array(cols);
  const rowCodes = new Uint8Array(cols);
  for (let row = 0; row < rows; row++) {
    spreadOverRow(granularity, scales, row, rowScales);
    spreadOverRow(granularity, zeroPoints, row, rowZeros);
    for (let col = 0; col < cols; col++) {
      const value = values[row * cols + col]!;
      const scale = rowScales[col]!;
      const quotient = scale === 0 || Number.isNaN(value) ? 0 : Math.fround(value / scale);
      // Clamped before rounding as well: roundHalfEven holds for |x| < 2^51 only.
      const rounded = roundHalfEven(clamp(quotient, 2 * low, 2 * high + 1));
      rowCodes[col] = format.encode(clamp(rounded + rowZeros[col]!, low, high));
    }
    storeCodeRow(format, rowCodes, codes, row);
  }
  return { weightFormat, rows, cols, codes, scales, zeroPoints };
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}
