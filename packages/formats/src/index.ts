export { type ActivationFormatName, activationFormatNames, parseActivationFormat } from "./activation-format.ts";
export { codeArray, decodeArray, encodeArray, roundTo } from "./arrays.ts";
export { codeRowBytes, loadCodeRow, storeCodeRow } from "./code-rows.ts";
export { decodeE8m0, encodeE8m0 } from "./e8m0.ts";
export { encodeWithScales } from "./encode-with-scales.ts";
export type { CodeArray, Format, FormatName } from "./format.ts";
export { forEachScale, type Granularity, groupsPerRow, scaleCount, spreadOverRow } from "./granularity.ts";
export { type KvFormatName, kvFormatNames, parseKvFormat } from "./kv-format.ts";
export { dequantizeMx, type MxBlocks, type MxElement, mxBlockSize, quantizeMx } from "./mx-blocks.ts";
export { nibbleRowBytes, packNibbles, unpackNibbles } from "./nibbles.ts";
export { dequantizeNvfp4, type Nvfp4Blocks, nvfp4BlockSize, quantizeNvfp4 } from "./nvfp4-blocks.ts";
export { type PageLayout, type PageSpec, pageLayout } from "./page-layout.ts";
export { quantizeAbsMax } from "./quantize-absmax.ts";
export { quantizeAffine } from "./quantize-affine.ts";
export { quantizeBlocks } from "./quantize-blocks.ts";
export { absMaxScale, quantizeSymmetric } from "./quantize-symmetric.ts";
export { dequantize, type QuantizedTensor } from "./quantized-tensor.ts";
export { format, formats } from "./registry.ts";
export { roundHalfEven } from "./round-half-even.ts";
export {
  affineScale,
  blockScaleValue,
  largestMagnitude,
  mxScale,
  nvfp4Scale,
  nvfp4TensorScale,
  symmetricScale,
} from "./scale-of-range.ts";
export {
  parseWeightFormat,
  type WeightFormat,
  weightBytes,
  weightFormatName,
  weightFormats,
} from "./weight-format.ts";
