export { absmax } from "./absmax.ts";
export type { QuantizeMethod } from "./method.ts";
export { quantizeMethod, quantizeMethods, quantizeWeight } from "./methods.ts";
export { type QuantizationError, quantizationError } from "./quantization-error.ts";
