import { KvantError } from "@kvant/core";

/**
 * Where scales lie over a matrix [rows, cols]: one for the whole tensor, one per index of an axis (axis 0: per row, the
 * output channel of a weight), or one per `size` neighbours of a row. Always spelled out by the caller: an unseen default
 * here has cost people points of accuracy.
 */
export type Granularity =
  | { readonly kind: "tensor" }
  | { readonly kind: "channel"; readonly axis: 0 | 1 }
  | { readonly kind: "group"; readonly size: number };

/** Number of scales. The last group of a row may be shorter. Row-major: group g of row r has scale `r * groups + g`. */
export function scaleCount(granularity: Granularity, [rows, cols]: readonly [number, number]): number {
  switch (granularity.kind) {
    case "tensor":
      return 1;
    case "channel":
      return granularity.axis === 0 ? rows : cols;
    case "group":
      return rows * groupsPerRow(granularity.size, cols);
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

/**
 * Calls `visit` once per scale with the elements that share it: `start`, `start + stride`, ... below `end`, as indices into
 * the row-major matrix.
 */
export function forEachScale(
  granularity: Granularity,
  [rows, cols]: readonly [number, number],
  visit: (scale: number, start: number, end: number, stride: number) => void,
): void {
  switch (granularity.kind) {
    case "tensor":
      visit(0, 0, rows * cols, 1);
      return;
    case "channel":
      if (granularity.axis === 0) for (let row = 0; row < rows; row++) visit(row, row * cols, (row + 1) * cols, 1);
      else for (let col = 0; col < cols; col++) visit(col, col, rows * cols, cols);
      return;
    case "group": {
      const { size } = granularity;
      const groups = groupsPerRow(size, cols);
      for (let scale = 0; scale < rows * groups; scale++) {
        const row = Math.floor(scale / groups);
        const start = row * cols + (scale % groups) * size;
        visit(scale, start, Math.min(start + size, (row + 1) * cols), 1);
      }
      return;
    }
    default:
      granularity satisfies never;
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
    case "group": {
      const { size } = granularity;
      const groups = groupsPerRow(size, out.length);
      for (let group = 0; group < groups; group++) {
        out.fill(perScale[row * groups + group]!, group * size, (group + 1) * size);
      }
      return;
    }
    default:
      granularity satisfies never;
  }
}
