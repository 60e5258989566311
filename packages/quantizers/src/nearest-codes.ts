import { dequantize, type QuantizedTensor, quantizeAbsMax, type WeightFormat } from "@kvant/formats";
import { acceleration } from "./acceleration.ts";

/** `quantizeAbsMax` of `@kvant/formats`, by the acceleration where there is one that takes the weight format. */
export function nearestCodes(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
): QuantizedTensor {
  return (
    acceleration().quantizeAbsMax?.(values, rows, cols, weightFormat) ??
    quantizeAbsMax(values, rows, cols, weightFormat)
  );
}

/** `dequantize` of `@kvant/formats`, by the acceleration where there is one that takes the layout. */
export function restoredValues(tensor: QuantizedTensor): Float32Array {
  return acceleration().dequantize?.(tensor) ?? dequantize(tensor);
}
