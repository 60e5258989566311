import { addProduct } from "./add-product.ts";
import { mirrorLower } from "./gram.ts";
import { type MatrixView, rowMajor, tileAt, transposed } from "./matrix-view.ts";

// What a panel is wide, and what of the work does not go through products: wider ones leave more of it, narrower ones make shallow
// products.
const tileSide = 32;

/**
 * The lower Cholesky factor L of a symmetric positive definite matrix, `L L^T = a`, zero above the diagonal. Only the lower
 * half of `a` is read. `undefined` if a pivot is not positive.
 */
export function cholesky(a: Float64Array, n: number): Float64Array | undefined {
  const factor = a.slice();
  if (!choleskyInPlace(rowMajor(factor, n), n)) return undefined;
  clearUpper(rowMajor(factor, n), n);
  return factor;
}

/** The inverse of a symmetric positive definite matrix by way of its Cholesky factor; `undefined` if a pivot is not positive. */
export function choleskyInverse(a: Float64Array, n: number): Float64Array | undefined {
  const factor = a.slice();
  const lower = rowMajor(factor, n);
  if (!choleskyInPlace(lower, n)) return undefined;
  clearUpper(lower, n);
  invertLowerInPlace(lower, n);
  const inverse = new Float64Array(n * n);
  // a^-1 = L^-T L^-1.
  addProduct({
    target: rowMajor(inverse, n),
    left: transposed(lower),
    right: lower,
    rows: n,
    cols: n,
    depth: n,
    sign: 1,
    lowerOnly: true,
  });
  mirrorLower(inverse, n);
  return inverse;
}

/**
 * Replaces the lower half of `a` [n, n] by its Cholesky factor and leaves the rest arbitrary. Returns false, with `a` spoilt,
 * as soon as a pivot is not positive and finite. Columns are factored in tiles, each after the product of all columns before it.
 */
export function choleskyInPlace(a: MatrixView<Float64Array>, n: number): boolean {
  for (let start = 0; start < n; start += tileSide) {
    const side = Math.min(tileSide, n - start);
    const before = tileAt(a, start, 0); // [n - start, start]
    addProduct({
      target: tileAt(a, start, start),
      left: before,
      right: transposed(before),
      rows: n - start,
      cols: side,
      depth: start,
      sign: -1,
    });
    if (!factorPanel(tileAt(a, start, start), n - start, side)) return false;
  }
  return true;
}

/** The unblocked factorization of a panel [rows, cols], rows at or above cols: its top square becomes the factor. */
function factorPanel({ data, offset, rowStride, colStride }: MatrixView<Float64Array>, rows: number, cols: number) {
  const pivots = new Float64Array(cols);
  for (let row = 0; row < rows; row++) {
    const rowStart = offset + row * rowStride;
    for (let col = 0; col < Math.min(row, cols); col++) {
      const colStart = offset + col * rowStride;
      let sum = data[rowStart + col * colStride]!;
      for (let k = 0; k < col; k++) sum -= data[rowStart + k * colStride]! * data[colStart + k * colStride]!;
      data[rowStart + col * colStride] = sum / pivots[col]!;
    }
    if (row >= cols) continue;
    let pivot = data[rowStart + row * colStride]!;
    for (let k = 0; k < row; k++) pivot -= data[rowStart + k * colStride]! ** 2;
    if (!(pivot > 0 && pivot < Infinity)) return false;
    pivots[row] = Math.sqrt(pivot);
    data[rowStart + row * colStride] = pivots[row]!;
  }
  return true;
}

/**
 * Replaces a lower triangular matrix [n, n], zero above its diagonal and nowhere zero on it, by its inverse X. Row tiles come
 * first to last: `X[I, J] = -L[I, I]^-1 sum_K L[I, K] X[K, J]` over the tiles K from J to before I.
 */
export function invertLowerInPlace(a: MatrixView<Float64Array>, n: number): void {
  for (let start = 0; start < n; start += tileSide) {
    const side = Math.min(tileSide, n - start);
    const target = tileAt(a, start, 0); // [side, start]
    const left = takeTile(target, side, start);
    for (let col = 0; col < start; col += tileSide) {
      addProduct({
        target: tileAt(target, 0, col),
        left: tileAt(left, 0, col),
        right: tileAt(a, col, col),
        rows: side,
        cols: Math.min(tileSide, start - col),
        depth: start - col,
        sign: -1,
      });
    }
    const diagonal = tileAt(a, start, start);
    solveLower(diagonal, target, side, start);
    invertLowerUnblocked(diagonal, side);
  }
}

/** Copies a tile [rows, cols] and leaves zeros in its place. */
function takeTile(tile: MatrixView<Float64Array>, rows: number, cols: number): MatrixView<Float64Array> {
  const { data, offset, rowStride, colStride } = tile;
  const copy = new Float64Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const at = offset + row * rowStride + col * colStride;
      copy[row * cols + col] = data[at]!;
      data[at] = 0;
    }
  }
  return rowMajor(copy, cols);
}

/** `b = L^-1 b` by forward substitution; L is the lower triangle [n, n] of `lower`, b is [n, cols]. */
function solveLower(lower: MatrixView<Float64Array>, b: MatrixView<Float64Array>, n: number, cols: number): void {
  for (let row = 0; row < n; row++) {
    const lowerRow = lower.offset + row * lower.rowStride;
    const to = b.offset + row * b.rowStride;
    for (let k = 0; k < row; k++) {
      const factor = lower.data[lowerRow + k * lower.colStride]!;
      const from = b.offset + k * b.rowStride;
      for (let col = 0; col < cols; col++) {
        b.data[to + col * b.colStride]! -= factor * b.data[from + col * b.colStride]!;
      }
    }
    const pivot = lower.data[lowerRow + row * lower.colStride]!;
    for (let col = 0; col < cols; col++) b.data[to + col * b.colStride]! /= pivot;
  }
}

/** The inverse of one lower triangle [n, n], in place: `X[i, j] = -(sum_k L[i, k] X[k, j]) / L[i, i]`. */
function invertLowerUnblocked({ data, offset, rowStride, colStride }: MatrixView<Float64Array>, n: number): void {
  for (let row = 0; row < n; row++) {
    const rowStart = offset + row * rowStride;
    const pivot = data[rowStart + row * colStride]!;
    for (let col = 0; col < row; col++) {
      let sum = 0;
      for (let k = col; k < row; k++)
        sum += data[rowStart + k * colStride]! * data[offset + k * rowStride + col * colStride]!;
      // The entries right of `col` are still those of L, and no later column reads this one.
      data[rowStart + col * colStride] = -sum / pivot;
    }
    data[rowStart + row * colStride] = 1 / pivot;
  }
}

/** Writes zeros above the diagonal of a matrix [n, n]. */
export function clearUpper({ data, offset, rowStride, colStride }: MatrixView<Float64Array>, n: number): void {
  for (let row = 0; row < n; row++) {
    for (let col = row + 1; col < n; col++) data[offset + row * rowStride + col * colStride] = 0;
  }
}
