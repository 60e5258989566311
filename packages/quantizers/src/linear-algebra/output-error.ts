import { KvantError } from "@kvant/core";
import { addProduct } from "./add-product.ts";
import { type MatrixView, rowMajor, tileAt, transposed } from "./matrix-view.ts";

const tileSide = 64;

/**
 * Per row of a weight error E the squared error of that output over the calibration tokens, `errors[r] = E_r G E_r^T` with the
 * Gram matrix `G = X^T X`; their sum is `||X E^T||^2`, the objective of GPTQ (Frantar et al. 2022, equation 1), without the
 * activations. Each half of G counts once: `2 sum_{j > k} + sum_{j = k}` by tiles. What rounding takes below 0 is 0.
 * @throws KvantError INVALID_ARGUMENT if the sizes do not match
 */
export function outputErrors(
  error: Float64Array, // [rows, cols]
  rows: number,
  cols: number,
  gram: MatrixView, // [cols, cols], symmetric
): Float64Array {
  if (error.length !== rows * cols) {
    throw new KvantError("INVALID_ARGUMENT", `${error.length} errors are not a matrix [${rows}, ${cols}]`);
  }
  const e = rowMajor(error, cols);
  const errors = new Float64Array(rows);
  const products = new Float64Array(rows * tileSide);
  for (let start = 0; start < cols; start += tileSide) {
    const side = Math.min(tileSide, cols - start);
    const target = rowMajor(products, tileSide);
    const operands = { target, rows, cols: side, sign: 1 } as const;
    products.fill(0);
    addProduct({ ...operands, left: e, right: transposed(tileAt(gram, start, 0)), depth: start });
    for (let i = 0; i < products.length; i++) products[i]! *= 2;
    addProduct({ ...operands, left: tileAt(e, 0, start), right: tileAt(gram, start, start), depth: side });
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      for (let col = 0; col < side; col++) sum += products[row * tileSide + col]! * error[row * cols + start + col]!;
      errors[row]! += sum;
    }
  }
  return errors.map((each) => Math.max(0, each));
}

/** The sum of an array, first to last. */
export function total(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

/** `outputErrors` of what rounding has changed: E is `values - rounded`. */
export function roundingErrors(
  values: Float32Array, // [rows, cols]
  rounded: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  gram: Float64Array, // [cols, cols], symmetric
): Float64Array {
  const error = new Float64Array(values.length);
  for (let i = 0; i < error.length; i++) error[i] = values[i]! - rounded[i]!;
  return outputErrors(error, rows, cols, rowMajor(gram, cols));
}
