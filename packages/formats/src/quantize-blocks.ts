import { KvantError } from "@kvant/core";
import { encodeWithScales } from "./encode-with-scales.ts";
import { forEachScale, scaleCount } from "./granularity.ts";
import { type QuantizedTensor, scaledFormat } from "./quantized-tensor.ts";
import { blockScaleValue, largestMagnitude, mxScale, nvfp4Scale, nvfp4TensorScale } from "./scale-of-range.ts";
import { type WeightFormat, weightFormatName } from "./weight-format.ts";

/**
 * MXFP4, MXFP8 and NVFP4 quantization of a matrix [rows, cols]: the arithmetic of `quantizeMx` and `quantizeNvfp4` with
 * blocks that do not cross rows. `scales` holds what a code is multiplied by: in NVFP4 `fround(blockScale * tensorScale)`.
 * @throws KvantError INVALID_ARGUMENT if the shape does not match the values or the weight format is none of the three
 */
export function quantizeBlocks(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
): QuantizedTensor {
  const { format, granularity } = scaledFormat(weightFormat, values, rows, cols);
  const { scaleFormat } = weightFormat;
  if (scaleFormat === undefined) {
    throw new KvantError("INVALID_ARGUMENT", `${weightFormatName(weightFormat)} is none of mxfp4, mxfp8 and nvfp4`);
  }
  const scales = new Float32Array(scaleCount(granularity, [rows, cols]));
  const tensorScale = scaleFormat === "e4m3" ? nvfp4TensorScale(largestMagnitude(values, 0, values.length)) : 1;
  forEachScale(granularity, [rows, cols], values, (index, members, start, end) => {
    const largest = largestMagnitude(members, start, end);
    const code = scaleFormat === "e8m0" ? mxScale(format, largest) : nvfp4Scale(largest, tensorScale);
    scales[index] = blockScaleValue(scaleFormat, code, tensorScale);
  });
  const tensor = encodeWithScales(values, rows, cols, weightFormat, scales, undefined);
  return scaleFormat === "e4m3" ? { ...tensor, tensorScale } : tensor;
}
