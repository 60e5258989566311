import { KvantError } from "@kvant/core";
import { formats, type QuantizedTensor, spreadOverRow } from "@kvant/formats";
import { acceleration } from "./acceleration.ts";
import { restoredValues } from "./nearest-codes.ts";

/** What quantization has cost a matrix. Values that are not finite are left out of all figures but their own count. */
export interface QuantizationError {
  /** Signal to quantization noise, `10 log10(sum x^2 / sum e^2)`; infinite if nothing was lost. */
  readonly sqnrDecibels: number;
  /** `||e|| / ||x||`; 0 if nothing was lost. */
  readonly relativeError: number;
  /** The largest |e|. */
  readonly largestError: number;
  /** Values clipped because they lie beyond what their scale can reach. */
  readonly saturatedCount: number;
  /** Values other than 0 that became 0. */
  readonly zeroedCount: number;
  /** NaN and infinities in the original. */
  readonly nonFiniteCount: number;
}

// A scale is rounded to float32, so the largest value of a group may exceed scale * max by a few units in the last place
// without being clipped by more than its rounding.
const saturationTolerance = 1 + 2 ** -20;

/**
 * Compares a matrix with its quantized form; e is the original minus the dequantized value.
 * @throws KvantError INVALID_ARGUMENT if the sizes differ
 */
export function quantizationError(
  original: Float32Array, // [rows, cols]
  quantized: QuantizedTensor,
  restored: Float32Array = restoredValues(quantized), // [rows, cols]; refuses formats without granularity
): QuantizationError {
  const { rows, cols } = quantized;
  if (original.length !== rows * cols) {
    throw new KvantError("INVALID_ARGUMENT", `${original.length} values are compared with a matrix [${rows}, ${cols}]`);
  }
  const sums = acceleration().sumErrors?.(original, quantized, restored) ?? sumErrors(original, quantized, restored);
  const { signal, noise, ...figures } = sums;
  return {
    sqnrDecibels: noise === 0 ? Infinity : 10 * Math.log10(signal / noise),
    relativeError: noise === 0 ? 0 : Math.sqrt(noise / signal),
    ...figures,
  };
}

/** What `quantizationError` adds up. */
export interface ErrorSums
  extends Pick<QuantizationError, "largestError" | "saturatedCount" | "zeroedCount" | "nonFiniteCount"> {
  /** Sums of squares. */
  readonly signal: number;
  readonly noise: number;
}

/** Sums are over a row, and then over the rows' sums, so that rows can be shared out. */
function sumErrors(original: Float32Array, quantized: QuantizedTensor, restored: Float32Array): ErrorSums {
  const { rows, cols, scales, zeroPoints, weightFormat } = quantized;
  const granularity = weightFormat.granularity!; // `dequantize` refuses formats without
  const { kind, max } = formats[weightFormat.format];
  // An integer code reaches half a step further: that far, rounding and not clipping makes the error.
  const halfStep = kind === "integer" ? 0.5 : 0;
  const rowScales = new Float32Array(cols);
  const rowZeros = new Float32Array(cols);
  let signal = 0;
  let noise = 0;
  let largestError = 0;
  let saturatedCount = 0;
  let zeroedCount = 0;
  let nonFiniteCount = 0;
  for (let row = 0; row < rows; row++) {
    spreadOverRow(granularity, scales, row, rowScales);
    if (zeroPoints !== undefined) spreadOverRow(granularity, zeroPoints, row, rowZeros);
    let rowSignal = 0;
    let rowNoise = 0;
    for (let col = 0; col < cols; col++) {
      const value = original[row * cols + col]!;
      if (!Number.isFinite(value)) {
        nonFiniteCount++;
        continue;
      }
      const back = restored[row * cols + col]!;
      const error = value - back;
      rowSignal += value * value;
      rowNoise += error * error;
      largestError = Math.max(largestError, Math.abs(error));
      if (value !== 0 && back === 0) zeroedCount++;
      // Affine codes reach from -max - 1 to max, shifted by the zero point.
      const reach = zeroPoints === undefined ? max : value > 0 ? max - rowZeros[col]! : max + 1 + rowZeros[col]!;
      if (Math.abs(value) > (reach + halfStep) * rowScales[col]! * saturationTolerance) saturatedCount++;
    }
    signal += rowSignal;
    noise += rowNoise;
  }
  return { signal, noise, largestError, saturatedCount, zeroedCount, nonFiniteCount };
}
