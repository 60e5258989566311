import { formats, roundHalfEven } from "@kvant/formats";
import type { CodeGrid, GroupScale } from "../grid/code-grid.ts";

/**
 * The sum of squared errors of `values[start, end)` under a scale, float32 as they come back from `dequantize`. Stops where it
 * exceeds `limit`, and is then some number above it.
 */
export function squaredError(
  grid: CodeGrid,
  { scale, zeroPoint }: GroupScale,
  values: Float32Array,
  start: number,
  end: number,
  limit: number,
): number {
  const { format, affine } = grid.weightFormat;
  const { kind, max } = formats[format];
  if (kind === "integer" && scale > 0) {
    // Clamping less the zero point, and before rounding, changes no bit: the bounds are integers.
    const lowest = (affine ? -max - 1 : -max) - zeroPoint;
    return integerError(values, start, end, scale, lowest, max - zeroPoint, limit);
  }
  let sum = 0;
  for (let i = start; i < end && sum <= limit; i++) {
    const error = values[i]! - grid.round(values[i]!, scale, zeroPoint);
    sum += error * error;
  }
  return sum;
}

// What grid.round computes, in one loop: a search asks this of every weight some fifty times, and the calls took most of it.
function integerError(
  values: Float32Array,
  start: number,
  end: number,
  scale: number,
  lowest: number,
  highest: number,
  limit: number,
): number {
  let sum = 0;
  for (let i = start; i < end && sum <= limit; i++) {
    const quotient = Math.fround(values[i]! / scale);
    const code = roundHalfEven(Math.max(lowest, Math.min(highest, quotient)));
    const error = values[i]! - Math.fround(code * scale);
    sum += error * error;
  }
  return sum;
}
