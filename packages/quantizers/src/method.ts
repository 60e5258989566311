import type { QuantizedTensor, WeightFormat } from "@kvant/formats";

/** A way to choose scales and codes for a weight matrix. */
export interface QuantizeMethod {
  readonly name: string;
  /**
   * Quantizes a matrix [rows, cols], row-major.
   * @throws KvantError INVALID_ARGUMENT if the shape does not match the values or the weight format has no scales
   */
  quantize(values: Float32Array, rows: number, cols: number, weightFormat: WeightFormat): QuantizedTensor;
}
