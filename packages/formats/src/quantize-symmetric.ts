import { KvantError } from "@kvant/core";
import type { Format } from "./format.ts";
import { fp32 } from "./fp32.ts";
import { forEachScale, scaleCount, spreadOverRow } from "./granularity.ts";
import {
  codeRowBytes,
  type QuantizedTensor,
  type ScaledFormat,
  scaledFormat,
  storeCodeRow,
} from "./quantized-tensor.ts";
import { type WeightFormat, weightFormatName } from "./weight-format.ts";

/**
 * AbsMax scale of `values[start, end)` for a format: `fround(max|x| / format.max)`, a float32 division. NaN is ignored and
 * infinity counts as the largest float32, so the scale is always finite. It is 0 if all values are zero or so small that
 * the quotient underflows; their codes are then 0 and so are the values they decode to.
 */
export function absMaxScale(values: Float32Array, start: number, end: number, format: Format): number {
  return stridedAbsMaxScale(values, start, end, 1, format);
}

/**
 * Symmetric AbsMax quantization of a matrix [rows, cols]. All arithmetic is float32, so that native code gets the same bits:
 *
 *     scale = absmax / max                                          max: 127, 7, 448, 57344 or 6
 *     code  = encode(clamp(x / scale, -max, max))                   a division, not a product with 1 / scale
 *
 * `encode` rounds to nearest, ties to even. Integer codes stay within -127..127 and -7..7. NaN becomes 0 in integer formats
 * and E2M1, and NaN in FP8. Where the scale is 0, the code is 0.
 * @throws KvantError INVALID_ARGUMENT if the shape does not match the values, the format has no scales or is affine
 */
export function quantizeSymmetric(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
): QuantizedTensor {
  if (weightFormat.affine) {
    throw new KvantError("INVALID_ARGUMENT", "an affine weight format is quantized by quantizeAffine");
  }
  if (weightFormat.scaleFormat !== undefined) {
    throw new KvantError("INVALID_ARGUMENT", `${weightFormatName(weightFormat)} is quantized by quantizeBlocks`);
  }
  const scaled = scaledFormat(weightFormat, values, rows, cols);
  const scales = new Float32Array(scaleCount(scaled.granularity, [rows, cols]));
  forEachScale(scaled.granularity, [rows, cols], (scale, start, end, stride) => {
    scales[scale] = stridedAbsMaxScale(values, start, end, stride, scaled.format);
  });
  const codes = encodeRows(values, rows, cols, scaled, scales);
  return { weightFormat, rows, cols, codes, scales, zeroPoints: undefined };
}

function stridedAbsMaxScale(values: Float32Array, start: number, end: number, stride: number, format: Format): number {
  let largest = 0;
  for (let i = start; i < end; i += stride) {
    const magnitude = Math.abs(values[i]!);
    if (magnitude > largest) largest = magnitude;
  }
  return Math.fround(Math.min(largest, fp32.max) / format.max);
}

/** `code = encode(clamp(x / scale, -max, max))` for a whole matrix, row by row. */
export function encodeRows(
  values: Float32Array,
  rows: number,
  cols: number,
  { format, granularity }: ScaledFormat,
  scales: Float32Array,
): Uint8Array {
  const codes = new Uint8Array(rows * codeRowBytes(format, cols));
  const rowScales = new Float32Array(cols);
  const quotients = new Float32Array(cols); // assignment rounds to float32
  const rowCodes = new Uint8Array(cols);
  const { max } = format;
  for (let row = 0; row < rows; row++) {
    spreadOverRow(granularity, scales, row, rowScales);
    for (let col = 0; col < cols; col++) {
      const scale = rowScales[col]!;
      const quotient = scale === 0 ? 0 : values[row * cols + col]! / scale;
      quotients[col] = Math.max(-max, quotient); // encoding saturates at max; integers have a code below -max
    }
    format.encodeInto(quotients, rowCodes);
    storeCodeRow(format, rowCodes, codes, row);
  }
  return codes;
}
