import { KvantError } from "@kvant/core";
import { type Acceleration, acceleration } from "../acceleration.ts";

/**
 * Scales of a layer's input channels are folded into the weights around it, so that nothing is left to do at run time (AWQ,
 * Lin et al. 2023, section 3.2; SmoothQuant, Xiao et al. 2022, section 4): the layer's columns are multiplied, and what
 * produces its input is divided, a norm's weight by `divideVector` or the rows of a linear layer by `divideRows`.
 */

/** `out[r, c] = values[r, c] * scales[c]` in float32. */
export function scaleColumns(values: Float32Array, rows: number, cols: number, scales: Float32Array): Float32Array {
  checkScales(values, rows, cols, scales, cols);
  return scaled({ values, rows, cols, factors: scales, byRow: false, divides: false });
}

/** `out[r, c] = values[r, c] / scales[c]` in float32: what `scaleColumns` has multiplied, but for rounding. */
export function divideColumns(values: Float32Array, rows: number, cols: number, scales: Float32Array): Float32Array {
  checkScales(values, rows, cols, scales, cols);
  return scaled({ values, rows, cols, factors: scales, byRow: false, divides: true });
}

/** `out[r, c] = values[r, c] * scales[r]` in float32. */
export function scaleRows(values: Float32Array, rows: number, cols: number, scales: Float32Array): Float32Array {
  checkScales(values, rows, cols, scales, rows);
  return scaled({ values, rows, cols, factors: scales, byRow: true, divides: false });
}

/** `out[r, c] = values[r, c] / scales[r]` in float32. */
export function divideRows(values: Float32Array, rows: number, cols: number, scales: Float32Array): Float32Array {
  checkScales(values, rows, cols, scales, rows);
  return scaled({ values, rows, cols, factors: scales, byRow: true, divides: true });
}

/** `out[i] = vector[i] / scales[i]` in float32: a norm's weight, or a bias. */
export function divideVector(vector: Float32Array, scales: Float32Array): Float32Array {
  return divideColumns(vector, 1, vector.length, scales);
}

function scaled(matrix: Parameters<NonNullable<Acceleration["scaleMatrix"]>>[0]): Float32Array {
  const accelerated = acceleration().scaleMatrix;
  if (accelerated !== undefined) return accelerated(matrix);
  const { values, rows, cols, factors, byRow, divides } = matrix;
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const start = row * cols;
    for (let col = 0; col < cols; col++) {
      const factor = factors[byRow ? row : col]!;
      out[start + col] = divides ? values[start + col]! / factor : values[start + col]! * factor;
    }
  }
  return out;
}

function checkScales(values: Float32Array, rows: number, cols: number, scales: Float32Array, count: number): void {
  if (values.length !== rows * cols || scales.length !== count) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${values.length} values and ${scales.length} scales do not go with a matrix [${rows}, ${cols}]`,
    );
  }
  const wrong = scales.find((scale) => !(scale > 0 && scale < Infinity));
  if (wrong !== undefined) throw new KvantError("INVALID_ARGUMENT", `a channel's scale is positive, not ${wrong}`);
}
