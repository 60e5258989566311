/**
 * A matrix laid over an array: element [row, col] is `data[offset + row * rowStride + col * colStride]`. Strides may be
 * negative, so that a transpose, a tile and a matrix read backwards are views and not copies.
 */
export interface MatrixView<Data extends Float32Array | Float64Array = Float32Array | Float64Array> {
  readonly data: Data;
  readonly offset: number;
  readonly rowStride: number;
  readonly colStride: number;
}

/** The whole row-major matrix [rows, cols] in `data`. */
export function rowMajor<Data extends Float32Array | Float64Array>(data: Data, cols: number): MatrixView<Data> {
  return { data, offset: 0, rowStride: cols, colStride: 1 };
}

/** The part of a view that begins at [row, col]. */
export function tileAt<Data extends Float32Array | Float64Array>(
  view: MatrixView<Data>,
  row: number,
  col: number,
): MatrixView<Data> {
  return { ...view, offset: view.offset + row * view.rowStride + col * view.colStride };
}

/** Rows as columns. */
export function transposed<Data extends Float32Array | Float64Array>(view: MatrixView<Data>): MatrixView<Data> {
  return { ...view, rowStride: view.colStride, colStride: view.rowStride };
}

/** A square matrix [n, n] with the order of its rows and of its columns reversed. */
export function reversed<Data extends Float32Array | Float64Array>(
  view: MatrixView<Data>,
  n: number,
): MatrixView<Data> {
  const last = tileAt(view, n - 1, n - 1);
  return { ...last, rowStride: -view.rowStride, colStride: -view.colStride };
}
