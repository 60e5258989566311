import { KvantError } from "@kvant/core";
import { forEachScale, scaleCount, spreadOverRow } from "@kvant/formats";
import { requireFinite } from "../require-finite.ts";
import type { CodeGrid, GroupScale } from "./code-grid.ts";

/** Chooses the scale of the values that share it, `members[start, end)`. They may be none. */
export type ChooseGroupScale = (grid: CodeGrid, members: Float32Array, start: number, end: number) => GroupScale;

/** Scales of a matrix, and zero points where the format has them. */
export interface GroupScales {
  readonly scales: Float32Array; // [scaleCount]
  readonly zeroPoints: Int8Array; // [scaleCount], zeros in symmetric formats
}

/** The scale that maps the whole range of `values[start, end)` onto the codes: that of `quantizeAbsMax`. */
export const wholeRangeScale: ChooseGroupScale = (grid, values, start, end) => {
  const { smallest, largest } = rangeOf(values, start, end);
  return grid.scaleOf(smallest, largest);
};

/** The scale of the range [smallest, largest] with both ends multiplied by `shrink`. */
export function shrunkScale(grid: CodeGrid, smallest: number, largest: number, shrink: number): GroupScale {
  return grid.scaleOf(Math.fround(smallest * shrink), Math.fround(largest * shrink));
}

/** The range of `values[start, end)`, widened to contain 0. */
export function rangeOf(
  values: Float32Array,
  start: number,
  end: number,
): { readonly smallest: number; readonly largest: number } {
  let smallest = 0;
  let largest = 0;
  for (let i = start; i < end; i++) {
    const value = values[i]!;
    if (value < smallest) smallest = value;
    if (value > largest) largest = value;
  }
  return { smallest, largest };
}

/** Scales for every group of a matrix [rows, cols]. */
export function matrixScales(
  grid: CodeGrid,
  choose: ChooseGroupScale,
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
): GroupScales {
  const granularity = grid.weightFormat.granularity!;
  const count = scaleCount(granularity, [rows, cols]);
  const scales = new Float32Array(count);
  const zeroPoints = new Int8Array(count);
  forEachScale(granularity, [rows, cols], values, (index, members, start, end) => {
    const { scale, zeroPoint } = choose(grid, members, start, end);
    scales[index] = scale;
    zeroPoints[index] = zeroPoint;
  });
  return { scales, zeroPoints };
}

/** Rounds a matrix [rows, cols] to nearest under given scales. */
export function roundMatrix(
  grid: CodeGrid,
  { scales, zeroPoints }: GroupScales,
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
): Float32Array {
  const granularity = grid.weightFormat.granularity!;
  const rounded = new Float32Array(values.length);
  const rowScales = new Float32Array(cols);
  const rowZeros = new Float32Array(cols);
  for (let row = 0; row < rows; row++) {
    spreadOverRow(granularity, scales, row, rowScales);
    spreadOverRow(granularity, zeroPoints, row, rowZeros);
    for (let col = 0; col < cols; col++) {
      const at = row * cols + col;
      rounded[at] = grid.round(values[at]!, rowScales[col]!, rowZeros[col]!);
    }
  }
  return rounded;
}

/**
 * Checks a weight matrix and returns its largest magnitude. Errors call it `name`.
 * @throws KvantError INVALID_ARGUMENT if the shape does not match the values, WEIGHT_NOT_FINITE if one is NaN or infinite
 */
export function checkedMagnitude(values: Float32Array, rows: number, cols: number, name = "weight"): number {
  if (!Number.isSafeInteger(rows) || !Number.isSafeInteger(cols) || rows < 0 || cols < 0) {
    throw new KvantError("INVALID_ARGUMENT", `[${rows}, ${cols}] is not a matrix shape`);
  }
  if (values.length !== rows * cols) {
    throw new KvantError("INVALID_ARGUMENT", `${values.length} values do not fill a matrix [${rows}, ${cols}]`);
  }
  requireFinite(values, name);
  const { smallest, largest } = rangeOf(values, 0, values.length);
  return Math.max(-smallest, largest);
}
