import type { QuantizedTensor, WeightFormat } from "@kvant/formats";
import { codeGrid, encodeOnGrid } from "../grid/code-grid.ts";
import { type ChooseGroupScale, checkedMagnitude, matrixScales } from "../grid/group-scales.ts";

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
  choose: ChooseGroupScale,
): QuantizedTensor {
  const grid = codeGrid(weightFormat, checkedMagnitude(values, rows, cols, name));
  const { scales, zeroPoints } = matrixScales(grid, choose, values, rows, cols);
  return encodeOnGrid(grid, values, rows, cols, scales, zeroPoints);
}
