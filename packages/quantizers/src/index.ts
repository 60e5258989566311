export { absmax } from "./absmax.ts";
export type { QuantizeMethod } from "./method.ts";
export { quantizeMethod, quantizeMethods, quantizeWeight } from "./methods.ts";
export {
  keysTap,
  type LayerPart,
  type LayerTap,
  type LayerTensors,
  type QuantizeRuntime,
  valuesTap,
} from "./model/quantize-runtime.ts";
export { type QuantizationError, quantizationError } from "./quantization-error.ts";
export type {
  KeptTensor,
  LinearReport,
  MagnitudeHistogram,
  QualityReport,
  QuantizationReport,
  ValueHistogram,
} from "./report/quantization-report.ts";
