import { KvantError } from "@kvant/core";
import { e4m3 } from "./e4m3.ts";
import { decodeE8m0 } from "./e8m0.ts";
import { forEachScale, scaleCount } from "./granularity.ts";
import { mxScale } from "./mx-blocks.ts";
import { nvfp4Scale, nvfp4TensorScale } from "./nvfp4-blocks.ts";
import { encodeRows } from "./quantize-symmetric.ts";
import { type QuantizedTensor, scaledFormat } from "./quantized-tensor.ts";
import { type WeightFormat, weightFormatName } from "./weight-format.ts";

/**
 * MXFP4 and NVFP4 quantization of a matrix [rows, cols]: the arithmetic of `quantizeMx` and `quantizeNvfp4` with blocks that
 * do not cross rows. `scales` holds what a code is multiplied by: in NVFP4 `fround(blockScale * tensorScale)`.
 * @throws KvantError INVALID_ARGUMENT if the shape does not match the values or the weight format is neither of the two
 */
export function quantizeBlocks(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
): QuantizedTensor {
  const scaled = scaledFormat(weightFormat, values, rows, cols);
  const { scaleFormat } = weightFormat;
  if (scaleFormat === undefined) {
    throw new KvantError("INVALID_ARGUMENT", `${weightFormatName(weightFormat)} is neither mxfp4 nor nvfp4`);
  }
  const scales = new Float32Array(scaleCount(scaled.granularity, [rows, cols]));
  const tensorScale = scaleFormat === "e4m3" ? nvfp4TensorScale(values) : 1;
  forEachScale(scaled.granularity, [rows, cols], (index, start, end) => {
    if (scaleFormat === "e8m0") scales[index] = decodeE8m0(mxScale("e2m1", values, start, end));
    else if (tensorScale > 0) scales[index] = e4m3.decode(nvfp4Scale(values, start, end, tensorScale)) * tensorScale;
  });
  const codes = encodeRows(values, rows, cols, scaled, scales);
  return {
    weightFormat,
    rows,
    cols,
    codes,
    scales,
    zeroPoints: undefined,
    tensorScale: scaleFormat === "e4m3" ? tensorScale : undefined,
  };
}
