import { quantizeAffine } from "./quantize-affine.ts";
import { quantizeBlocks } from "./quantize-blocks.ts";
import { quantizeSymmetric } from "./quantize-symmetric.ts";
import type { QuantizedTensor } from "./quantized-tensor.ts";
import type { WeightFormat } from "./weight-format.ts";

/**
 * Quantizes a matrix [rows, cols] to any weight format that has scales, which map the range of each group onto all codes:
 * `quantizeSymmetric`, `quantizeAffine` or `quantizeBlocks`. Backends that quantize while loading get the same bits.
 * @throws KvantError INVALID_ARGUMENT if the shape does not match the values or the format has no scales
 */
export function quantizeAbsMax(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
): QuantizedTensor {
  if (weightFormat.affine) return quantizeAffine(values, rows, cols, weightFormat);
  if (weightFormat.scaleFormat !== undefined) return quantizeBlocks(values, rows, cols, weightFormat);
  return quantizeSymmetric(values, rows, cols, weightFormat);
}
