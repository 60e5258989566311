export { type ActivationFormatName, activationFormatNames, parseActivationFormat } from "./activation-format.ts";
export { codeArray, decodeArray, encodeArray, roundTo } from "./arrays.ts";
export type { CodeArray, Format, FormatName } from "./format.ts";
export { forEachScale, type Granularity, groupsPerRow, scaleCount, spreadOverRow } from "./granularity.ts";
export { type KvFormatName, kvFormatNames, parseKvFormat } from "./kv-format.ts";
export { nibbleRowBytes, packNibbles, unpackNibbles } from "./nibbles.ts";
export { type PageLayout, type PageSpec, pageLayout } from "./page-layout.ts";
export { quantizeAffine } from "./quantize-affine.ts";
export { absMaxScale, quantizeSymmetric } from "./quantize-symmetric.ts";
export { dequantize, type QuantizedTensor } from "./quantized-tensor.ts";
export { format, formats } from "./registry.ts";
export { roundHalfEven } from "./round-half-even.ts";
export {
  parseWeightFormat,
  type WeightFormat,
  weightBytes,
  weightFormatName,
  weightFormats,
} from "./weight-format.ts";
