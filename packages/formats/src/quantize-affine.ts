import { KvantError } from "@kvant/core";
import { encodeWithScales } from "./encode-with-scales.ts";
import { forEachScale, scaleCount } from "./granularity.ts";
import { type QuantizedTensor, scaledFormat } from "./quantized-tensor.ts";
import { affineScale } from "./scale-of-range.ts";
import { type WeightFormat, weightFormatName } from "./weight-format.ts";

/**
 * Affine quantization of a matrix [rows, cols] to an integer format over the range of each group, widened to contain zero so
 * that zero has a code of its own and decodes to exactly 0: `affineScale`, then `encodeWithScales`. NaN takes the code of
 * zero; infinities count as the largest float32. A scale of 0 (all values zero) goes with zero point and codes 0.
 * @throws KvantError INVALID_ARGUMENT if the shape does not match the values or the weight format is not affine
 */
export function quantizeAffine(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
): QuantizedTensor {
  const { format, granularity } = scaledFormat(weightFormat, values, rows, cols);
  if (!weightFormat.affine) {
    throw new KvantError("INVALID_ARGUMENT", `${weightFormatName(weightFormat)} is not an affine format`);
  }
  const count = scaleCount(granularity, [rows, cols]);
  const scales = new Float32Array(count);
  const zeroPoints = new Int8Array(count);
  forEachScale(granularity, [rows, cols], values, (index, members, start, end) => {
    let smallest = 0;
    let largest = 0;
    for (let i = start; i < end; i++) {
      if (members[i]! < smallest) smallest = members[i]!;
      if (members[i]! > largest) largest = members[i]!;
    }
    const { scale, zeroPoint } = affineScale(format, smallest, largest);
    scales[index] = scale;
    zeroPoints[index] = zeroPoint;
  });
  return encodeWithScales(values, rows, cols, weightFormat, scales, zeroPoints);
}
