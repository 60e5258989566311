import { KvantError } from "@kvant/core";

/**
 * Where scales lie over a matrix [rows, cols]: one for the whole tensor, one per index of an axis (axis 0: per row, the
 * output channel of a weight), one per `size` neighbours of a row, or one per tile of `rows` x `cols`. Always spelled out by
 * the caller: an unseen default here has cost people points of accuracy.
 */
export type Granularity =
  | { readonly kind: "tensor" }
  | { readonly kind: "channel"; readonly axis: 0 | 1 }
  | { readonly kind: "group"; readonly size: number }
  | { readonly kind: "tile"; readonly rows: number; readonly cols: number };

/**
 * Number of scales. The last group of a row and the tiles at the lower and right edge may be smaller. Row-major: group g of
 * row r has scale `r * groups + g`, tile [i, j] has scale `i * tilesPerRow + j`.
 * @throws KvantError INVALID_ARGUMENT if a size is not a positive integer
 */
export function scaleCount(granularity: Granularity, [rows, cols]: readonly [number, number]): number {
  switch (granularity.kind) {
    case "tensor":
      return 1;
    case "channel":
      return granularity.axis === 0 ? rows : cols;
    case "group":
      return rows * groupsPerRow(granularity.size, cols);
    case "tile":
      return tilesAlong(granularity.rows, rows) * tilesAlong(granularity.cols, cols);
    default:
      return granularity satisfies never;
  }
}

/**
 * Groups of `size` in a row of `cols`, the last one possibly shorter.
 * @throws KvantError INVALID_ARGUMENT if the size is not a positive integer
 */
export function groupsPerRow(size: number, cols: number): number {
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new KvantError("INVALID_ARGUMENT", `a group size is a positive integer, not ${size}`);
  }
  return Math.ceil(cols / size);
}

function tilesAlong(size: number, length: number): number {
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new KvantError("INVALID_ARGUMENT", `the side of a tile is a positive integer, not ${size}`);
  }
  return Math.ceil(length / size);
}

/**
 * Calls `visit` once per scale, in order, with the values that share it: `members[start, end)`. Where they lie together in
 * the row-major matrix, `members` is the matrix itself; columns and tiles are copied together, into an array that the next
 * call overwrites.
 * @throws KvantError INVALID_ARGUMENT if a size is not a positive integer
 */
export function forEachScale(
  granularity: Granularity,
  [rows, cols]: readonly [number, number],
  values: Float32Array, // [rows, cols]
  visit: (scale: number, members: Float32Array, start: number, end: number) => void,
): void {
  switch (granularity.kind) {
    case "tensor":
      visit(0, values, 0, rows * cols);
      return;
    case "channel":
      if (granularity.axis === 1) forEachColumn(rows, cols, values, visit);
      else for (let row = 0; row < rows; row++) visit(row, values, row * cols, (row + 1) * cols);
      return;
    case "group": {
      const { size } = granularity;
      const groups = groupsPerRow(size, cols);
      for (let scale = 0; scale < rows * groups; scale++) {
        const row = Math.floor(scale / groups);
        const start = row * cols + (scale % groups) * size;
        visit(scale, values, start, Math.min(start + size, (row + 1) * cols));
      }
      return;
    }
    case "tile":
      forEachTile(granularity, rows, cols, values, visit);
      return;
    default:
      granularity satisfies never;
  }
}

function forEachColumn(
  rows: number,
  cols: number,
  values: Float32Array, // [rows, cols]
  visit: (scale: number, members: Float32Array, start: number, end: number) => void,
): void {
  const column = new Float32Array(rows);
  for (let col = 0; col < cols; col++) {
    for (let row = 0; row < rows; row++) column[row] = values[row * cols + col]!;
    visit(col, column, 0, rows);
  }
}

function forEachTile(
  tile: Extract<Granularity, { kind: "tile" }>,
  rows: number,
  cols: number,
  values: Float32Array, // [rows, cols]
  visit: (scale: number, members: Float32Array, start: number, end: number) => void,
): void {
  const [tileRows, tileCols] = [tilesAlong(tile.rows, rows), tilesAlong(tile.cols, cols)];
  const members = new Float32Array(Math.min(tile.rows, rows) * Math.min(tile.cols, cols));
  for (let scale = 0; scale < tileRows * tileCols; scale++) {
    const firstRow = Math.floor(scale / tileCols) * tile.rows;
    const firstCol = (scale % tileCols) * tile.cols;
    const lastCol = Math.min(firstCol + tile.cols, cols);
    let count = 0;
    for (let row = firstRow; row < Math.min(firstRow + tile.rows, rows); row++) {
      members.set(values.subarray(row * cols + firstCol, row * cols + lastCol), count);
      count += lastCol - firstCol;
    }
    visit(scale, members, 0, count);
  }
}

/**
 * Spreads per-scale numbers over the elements of one row: `out[c]` becomes the entry of `perScale` that element
 * [row, c] shares.
 */
export function spreadOverRow(
  granularity: Granularity,
  perScale: Float32Array | Int8Array, // [scaleCount]
  row: number,
  out: Float32Array, // [cols]
): void {
  switch (granularity.kind) {
    case "tensor":
      out.fill(perScale[0]!);
      return;
    case "channel":
      if (granularity.axis === 0) out.fill(perScale[row]!);
      else out.set(perScale);
      return;
    case "group":
      spreadRuns(perScale, row * groupsPerRow(granularity.size, out.length), granularity.size, out);
      return;
    case "tile": {
      const tileRow = Math.floor(row / granularity.rows);
      spreadRuns(perScale, tileRow * tilesAlong(granularity.cols, out.length), granularity.cols, out);
      return;
    }
    default:
      granularity satisfies never;
  }
}

/** Entries from `first` on, each over `length` neighbours; the last run may be shorter. */
function spreadRuns(perScale: Float32Array | Int8Array, first: number, length: number, out: Float32Array): void {
  for (let run = 0; run * length < out.length; run++) {
    out.fill(perScale[first + run]!, run * length, (run + 1) * length);
  }
}
