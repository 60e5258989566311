import { groupsPerRow, spreadOverRow } from "@kvant/formats";
import type { CodeGrid } from "../grid/code-grid.ts";
import type { ChooseGroupScale, GroupScales } from "../grid/group-scales.ts";
import { addProduct } from "../linear-algebra/add-product.ts";
import { rowMajor, tileAt } from "../linear-algebra/matrix-view.ts";
import type { GptqFactor } from "./gptq-factor.ts";

/** Operands of `roundColumns`. */
export interface ColumnRounding {
  readonly values: Float32Array; // [rows, cols]
  readonly rows: number;
  readonly cols: number;
  readonly factor: GptqFactor;
  readonly grid: CodeGrid;
  readonly chooseScale: ChooseGroupScale;
  readonly lazyColumns: number;
  /** Scales stay as given; otherwise, in formats with groups, a group's is chosen when it begins and written back. */
  readonly staticScales: boolean;
  readonly groupScales: GroupScales;
}

/**
 * GPTQ's pass over the columns (Frantar et al. 2022, algorithm 1), U being the upper factor of the inverse Hessian:
 *
 *     Q[:, j]  = round(W[:, j])
 *     e        = (W[:, j] - Q[:, j]) / U[j, j]
 *     W[:, j:] = W[:, j:] - e . U[j, j:]
 *
 * Inside a tile of `lazyColumns` the update is immediate, right of it it comes as one product when the tile is done (section
 * 4, step 2). A tile ends early where otherwise a group would begin in it and end outside: then the choice of the group's
 * scale would miss updates, and the result would depend on `lazyColumns`.
 * @returns [rows, cols], the rounded weights in their original places
 */
export function roundColumns(operands: ColumnRounding): Float32Array {
  const { values, rows, cols, factor, grid, lazyColumns } = operands;
  const { upper, order } = factor;
  const weights = takeWeights(values, rows, cols, factor);
  const rounded = new Float32Array(rows * cols);
  const { granularity } = grid.weightFormat;
  const groupSize = granularity?.kind === "group" && !operands.staticScales ? granularity.size : undefined;
  for (let start = 0; start < cols; ) {
    const end = tileEnd(start, cols, lazyColumns, groupSize);
    const side = end - start;
    const errors = roundTile(operands, weights, rounded, start, end, groupSize);
    addProduct({
      target: tileAt(rowMajor(weights, cols), 0, end),
      left: rowMajor(errors, side),
      right: tileAt(rowMajor(upper, cols), start, end),
      rows,
      cols: cols - end,
      depth: side,
      sign: -1,
    });
    start = end;
  }
  return order === undefined ? rounded : backInPlace(rounded, rows, cols, order);
}

/** The weights in the order of quantization, those of dead columns 0 as in the authors' code. */
function takeWeights(values: Float32Array, rows: number, cols: number, { order, deadColumns }: GptqFactor) {
  const weights = new Float64Array(rows * cols);
  for (let place = 0; place < cols; place++) {
    if (deadColumns[place] === 1) continue;
    const col = order?.[place] ?? place;
    for (let row = 0; row < rows; row++) weights[row * cols + place] = values[row * cols + col]!;
  }
  return weights;
}

function backInPlace(rounded: Float32Array, rows: number, cols: number, order: Int32Array): Float32Array {
  const values = new Float32Array(rounded.length);
  for (let row = 0; row < rows; row++) {
    for (let place = 0; place < cols; place++) values[row * cols + order[place]!] = rounded[row * cols + place]!;
  }
  return values;
}

/** Where the tile that begins at `start` ends: after `lazyColumns`, or at the last group boundary before that. */
function tileEnd(start: number, cols: number, lazyColumns: number, groupSize: number | undefined): number {
  const end = Math.min(start + lazyColumns, cols);
  if (groupSize === undefined || end === cols) return end;
  const boundary = end - (end % groupSize);
  return boundary > start ? boundary : end;
}

/** Rounds the columns of one tile row by row, and returns the scaled errors [rows, end - start]. */
function roundTile(
  { rows, cols, factor, grid, chooseScale, groupScales }: ColumnRounding,
  weights: Float64Array,
  rounded: Float32Array,
  start: number,
  end: number,
  groupSize: number | undefined,
): Float64Array {
  const side = end - start;
  const upper = new Float64Array(side * side);
  for (let i = 0; i < side; i++) {
    const from = (start + i) * cols + start;
    upper.set(factor.upper.subarray(from, from + side), i * side);
  }
  const { scales, zeroPoints } = groupScales;
  const granularity = grid.weightFormat.granularity!;
  const groups = groupSize === undefined ? 0 : groupsPerRow(groupSize, cols);
  const rowScales = new Float32Array(cols);
  const rowZeros = new Float32Array(cols);
  const errors = new Float64Array(rows * side);
  for (let row = 0; row < rows; row++) {
    spreadOverRow(granularity, scales, row, rowScales);
    spreadOverRow(granularity, zeroPoints, row, rowZeros);
    for (let i = 0; i < side; i++) {
      const place = start + i;
      const at = row * cols + place;
      if (groupSize !== undefined && place % groupSize === 0) {
        const groupEnd = Math.min(place + groupSize, cols);
        const members = Float32Array.from(weights.subarray(at, row * cols + groupEnd));
        const chosen = chooseScale(grid, members, 0, members.length);
        const index = row * groups + place / groupSize;
        scales[index] = chosen.scale;
        zeroPoints[index] = chosen.zeroPoint;
        rowScales.fill(chosen.scale, place, groupEnd);
        rowZeros.fill(chosen.zeroPoint, place, groupEnd);
      }
      const col = factor.order?.[place] ?? place;
      const weight = weights[at]!;
      const value = grid.round(Math.fround(weight), rowScales[col]!, rowZeros[col]!);
      rounded[at] = value;
      const error = (weight - value) / upper[i * side + i]!;
      errors[row * side + i] = error;
      for (let j = i + 1; j < side; j++) weights[at + j - i]! -= error * upper[i * side + j]!;
    }
  }
  return errors;
}
