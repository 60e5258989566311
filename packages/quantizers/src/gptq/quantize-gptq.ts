import { KvantError } from "@kvant/core";
import type { QuantizedTensor, WeightFormat } from "@kvant/formats";
import { codeGrid, encodeOnGrid } from "../grid/code-grid.ts";
import { checkedMagnitude, matrixScales, roundMatrix, wholeRangeScale } from "../grid/group-scales.ts";
import { roundingErrors, total } from "../linear-algebra/output-error.ts";
import { leastErrorScale } from "../scale-search/mse.ts";
import { roundColumns } from "./gptq-columns.ts";
import { type GptqFactor, gptqFactor } from "./gptq-factor.ts";

/** How a scale is chosen for its values: round-to-nearest is measured with the same choice. */
const scaleChoices = { absmax: wholeRangeScale, mse: leastErrorScale };

export interface GptqOptions {
  /** Fraction of the mean diagonal added to the Hessian's; default 0.01. */
  readonly damping?: number;
  /** Columns with larger inputs first; default false. Group scales are then static, so that groups stay neighbours. */
  readonly actOrder?: boolean;
  /** Group scales from the original weights instead of from the updated ones when the group begins; default `actOrder`. */
  readonly staticGroups?: boolean;
  /** Columns between two updates of all that follow; default 128. Changes speed and nothing else but the last bits. */
  readonly lazyColumns?: number;
  /** Default `absmax`. */
  readonly scaleMethod?: keyof typeof scaleChoices;
  /** The factored Hessian, if several layers share an input; made with the same damping and order. */
  readonly factor?: GptqFactor;
}

export interface GptqResult {
  readonly tensor: QuantizedTensor;
  /** What the Hessian was really damped with. */
  readonly damping: number;
  readonly deadColumnCount: number;
  /** `||X (W - Q)^T||^2` of round-to-nearest on the calibration tokens. */
  readonly outputErrorBefore: number;
  /** The same of the result; never above it, in no row. */
  readonly outputErrorAfter: number;
  /** Rows that GPTQ would have made worse and that keep their round-to-nearest codes. */
  readonly keptRoundToNearestRows: number;
}

/**
 * GPTQ (Frantar et al. 2022, arXiv:2210.17323): columns are rounded one after another, and each time the columns still to
 * come are moved so that they make up for the error as well as they can on the calibration tokens. Works with every format
 * that has scales. Scales that rows or other groups share (tensor, channel) are those of the original weights; those of
 * groups see the updates.
 * @throws KvantError INVALID_ARGUMENT if sizes do not match, the Gram matrix is not finite, the format has no scales, or
 * `staticGroups` is false with `actOrder`; WEIGHT_NOT_FINITE
 */
export function quantizeGptq(
  values: Float32Array, // [rows, cols]
  rows: number,
  cols: number,
  gram: Float64Array, // [cols, cols], X^T X
  weightFormat: WeightFormat,
  options: GptqOptions = {},
): GptqResult {
  const { actOrder = false, lazyColumns = 128, scaleMethod = "absmax" } = options;
  const staticScales = options.staticGroups ?? actOrder;
  if (!Number.isSafeInteger(lazyColumns) || lazyColumns < 1) {
    throw new KvantError("INVALID_ARGUMENT", `lazyColumns is a positive integer, not ${lazyColumns}`);
  }
  const grid = codeGrid(weightFormat, checkedMagnitude(values, rows, cols));
  if (gram.length !== cols * cols) {
    throw new KvantError("INVALID_ARGUMENT", `${gram.length} sums are not a Gram matrix [${cols}, ${cols}]`);
  }
  const factor = options.factor ?? gptqFactor(gram, cols, options);
  if (factor.deadColumns.length !== cols) {
    throw new KvantError("INVALID_ARGUMENT", `a factor of ${factor.deadColumns.length} columns is not for ${cols}`);
  }
  if (factor.order !== undefined && !staticScales) {
    throw new KvantError("INVALID_ARGUMENT", "GPTQ with actOrder needs static groups");
  }

  const chooseScale = scaleChoices[scaleMethod];
  const nearestScales = matrixScales(grid, chooseScale, values, rows, cols);
  const nearest = roundMatrix(grid, nearestScales, values, rows, cols);
  const before = roundingErrors(values, nearest, rows, cols, gram);

  const groupScales = { scales: nearestScales.scales.slice(), zeroPoints: nearestScales.zeroPoints.slice() };
  const operands = { values, rows, cols, factor, grid, chooseScale, lazyColumns, staticScales, groupScales };
  const rounded = roundColumns(operands);
  const after = roundingErrors(values, rounded, rows, cols, gram);

  const perRow = groupScales.scales.length / rows;
  let kept = 0;
  for (let row = 0; row < rows; row++) {
    if (after[row]! <= before[row]!) continue;
    kept++;
    after[row] = before[row]!;
    rounded.set(nearest.subarray(row * cols, (row + 1) * cols), row * cols);
    // Scales that rows share are the same in both.
    if (weightFormat.granularity!.kind !== "group") continue;
    const [from, to] = [row * perRow, (row + 1) * perRow];
    groupScales.scales.set(nearestScales.scales.subarray(from, to), from);
    groupScales.zeroPoints.set(nearestScales.zeroPoints.subarray(from, to), from);
  }
  const { scales, zeroPoints } = groupScales;
  return {
    tensor: encodeOnGrid(grid, rounded, rows, cols, scales, zeroPoints),
    damping: factor.damping,
    deadColumnCount: factor.deadColumns.reduce((count, dead) => count + dead, 0),
    outputErrorBefore: total(before),
    outputErrorAfter: total(after),
    keptRoundToNearestRows: kept,
  };
}
