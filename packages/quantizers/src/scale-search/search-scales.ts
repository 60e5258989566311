import { forEachScale, type QuantizedTensor, scaleCount, type WeightFormat } from "@kvant/formats";
import { type CodeGrid, codeGrid, encodeOnGrid, type GroupScale } from "../grid/code-grid.ts";
import { checkedMagnitude } from "../grid/group-scales.ts";
import { requireFinite } from "../require-finite.ts";

/** Chooses the scale for the values that share it, `members[start, end)`. They may be none. */
export type ChooseScale = (grid: CodeGrid, members: Float32Array, start: number, end: number) => GroupScale;

/**
 * Quantizes a matrix [rows, cols] with the scale that `choose` gives to each group; the tensor scale of NVFP4 is that of
 * AbsMax.
 * @param name what errors call the matrix
 * @throws KvantError WEIGHT_NOT_FINITE; INVALID_ARGUMENT if the shape does not match the values or the format has no scales
 */
export function quantizeByGroup(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  weightFormat: WeightFormat,
  name: string,
  choose: ChooseScale,
): QuantizedTensor {
  requireFinite(values, name);
  const grid = codeGrid(weightFormat, checkedMagnitude(values, rows, cols));
  const granularity = weightFormat.granularity!; // codeGrid refuses formats without
  const count = scaleCount(granularity, [rows, cols]);
  const scales = new Float32Array(count);
  const zeroPoints = new Int8Array(count);
  forEachScale(granularity, [rows, cols], values, (index, members, start, end) => {
    const { scale, zeroPoint } = choose(grid, members, start, end);
    scales[index] = scale;
    zeroPoints[index] = zeroPoint;
  });
  return encodeOnGrid(grid, values, rows, cols, scales, zeroPoints);
}
