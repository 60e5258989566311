import { KvantError } from "@kvant/core";
import { encodeWithScales } from "./encode-with-scales.ts";
import type { Format } from "./format.ts";
import { forEachScale, scaleCount } from "./granularity.ts";
import { type QuantizedTensor, scaledFormat } from "./quantized-tensor.ts";
import { largestMagnitude, symmetricScale } from "./scale-of-range.ts";
import { type WeightFormat, weightFormatName } from "./weight-format.ts";

/**
 * AbsMax scale of `values[start, end)` for a format: `fround(max|x| / format.max)`, a float32 division. NaN is ignored and
 * infinity counts as the largest float32, so the scale is always finite. It is 0 if all values are zero or so small that
 * the quotient underflows; their codes are then 0 and so are the values they decode to.
 */
export function absMaxScale(values: Float32Array, start: number, end: number, format: Format): number {
  return symmetricScale(format, largestMagnitude(values, start, end));
}

/**
 * Symmetric AbsMax quantization of a matrix [rows, cols]. All arithmetic is float32, so that native code gets the same bits:
 *
 *     scale = absmax / max                                          max: 127, 7, 3, 1, 448, 57344 or 6
 *     code  = encode(clamp(x / scale, -max, max))                   `encodeWithScales`
 *
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
  const { format, granularity } = scaledFormat(weightFormat, values, rows, cols);
  const scales = new Float32Array(scaleCount(granularity, [rows, cols]));
  forEachScale(granularity, [rows, cols], values, (index, members, start, end) => {
    scales[index] = absMaxScale(members, start, end, format);
  });
  return encodeWithScales(values, rows, cols, weightFormat, scales, undefined);
}
