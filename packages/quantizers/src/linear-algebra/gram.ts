import { KvantError } from "@kvant/core";
import { addProduct } from "./add-product.ts";
import { rowMajor, transposed } from "./matrix-view.ts";

/**
 * `gram += x^T x` in float64: the Hessian of a linear layer's squared output error, summed over calibration tokens, but for a
 * factor of 2 (Frantar et al. 2022, section 3: `H = 2 X X^T` with tokens as columns). Half is computed and mirrored, so that
 * the sum is exactly symmetric.
 * @throws KvantError INVALID_ARGUMENT if a length does not match its shape, or a sum of squares is not finite, as after NaN
 */
export function addGram(
  x: Float32Array, // [tokens, width]
  tokens: number,
  width: number,
  gram: Float64Array, // [width, width]
): void {
  if (x.length !== tokens * width || gram.length !== width * width) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${x.length} activations and ${gram.length} sums are not [${tokens}, ${width}] and [${width}, ${width}]`,
    );
  }
  const right = rowMajor(x, width);
  addProduct({
    target: rowMajor(gram, width),
    left: transposed(right),
    right,
    rows: width,
    cols: width,
    depth: tokens,
    sign: 1,
    lowerOnly: true,
  });
  mirrorLower(gram, width);
  for (let channel = 0; channel < width; channel++) {
    const square = gram[channel * width + channel]!;
    if (square < Infinity) continue;
    throw new KvantError("INVALID_ARGUMENT", `the squares of activations in channel ${channel} add up to ${square}`);
  }
}

/** Copies what lies below the diagonal of a row-major matrix [n, n] to above it. */
export function mirrorLower(matrix: Float64Array, n: number): void {
  const side = 32; // two tiles of 32 x 32 float64 fit the first-level cache
  for (let i0 = 0; i0 < n; i0 += side) {
    for (let j0 = 0; j0 <= i0; j0 += side) {
      for (let i = i0; i < Math.min(i0 + side, n); i++) {
        for (let j = j0; j < Math.min(j0 + side, i); j++) matrix[j * n + i] = matrix[i * n + j]!;
      }
    }
  }
}
