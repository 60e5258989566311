import { KvantError } from "@kvant/core";
import { type QuantizedTensor, type WeightFormat, weightFormatName } from "@kvant/formats";
import { type CodeGrid, codeGrid, encodeOnGrid, type GroupScale } from "../grid/code-grid.ts";
import {
  checkedMagnitude,
  type GroupScales,
  matrixScales,
  rangeOf,
  roundMatrix,
  shrunkScale,
  wholeRangeScale,
} from "../grid/group-scales.ts";
import { rowMajor, tileAt } from "../linear-algebra/matrix-view.ts";
import { outputErrors, roundingErrors, total } from "../linear-algebra/output-error.ts";

export interface AwqClipRequest {
  readonly values: Float32Array; // [rows, cols]
  readonly rows: number;
  readonly cols: number;
  readonly gram: Float64Array; // [cols, cols], X^T X, or divided by the number of tokens
  readonly weightFormat: WeightFormat;
  /** Candidates beside the full range; default 20. */
  readonly shrinkSteps?: number;
  /** The least part of the range that is kept; default 0.5. */
  readonly smallestShrink?: number;
}

export interface AwqClip {
  readonly tensor: QuantizedTensor;
  /** [scaleCount], the part of its range that each group keeps. */
  readonly shrinks: Float32Array;
  /** `tr(E G E^T)` without clipping. */
  readonly lossBefore: number;
  /** The same of `tensor`; never above `lossBefore`, and in no row that has scales of its own. */
  readonly lossAfter: number;
}

/**
 * AWQ's clipping search (the authors' `auto_clip`, named in Lin et al. 2023, section 3.2): each group's range is shrunk from
 * 1 to 0.5 of its largest magnitude in 20 steps, and the part with the least output error of that group alone is kept,
 * `e_g G_gg e_g^T` with the tile of the Gram matrix that belongs to the group's columns. Weights beyond the range saturate at
 * the last code under the smaller scale. What groups of a row do to each other is left out of the search, so that a row whose
 * whole error has grown keeps its full ranges. A channel is a group as long as its row; the one range of a tensor is chosen by
 * the error of all rows.
 * @throws KvantError INVALID_ARGUMENT if sizes do not match, an option is out of range, or the format has no scales or other
 * than per tensor, row or group; WEIGHT_NOT_FINITE
 */
export function searchAwqClip(request: AwqClipRequest): AwqClip {
  const { values, rows, cols, gram, weightFormat } = request;
  const grid = codeGrid(weightFormat, checkedMagnitude(values, rows, cols));
  if (gram.length !== cols * cols) {
    throw new KvantError("INVALID_ARGUMENT", `${gram.length} sums are not a Gram matrix [${cols}, ${cols}]`);
  }
  const candidates = clipCandidates(request);
  const granularity = weightFormat.granularity!; // codeGrid refuses formats without
  if (granularity.kind === "tensor") return clipTensor(request, grid, candidates);
  if (granularity.kind === "group") return clipGroups(request, grid, candidates, Math.min(granularity.size, cols));
  if (granularity.kind === "channel" && granularity.axis === 0) return clipGroups(request, grid, candidates, cols);
  const name = weightFormatName(weightFormat);
  throw new KvantError(
    "INVALID_ARGUMENT",
    `AWQ clips tensors, rows and groups of rows; the scales of ${name} are others`,
  );
}

/**
 * The parts of a range that are compared with the whole, falling.
 * @throws KvantError INVALID_ARGUMENT if an option is out of range
 */
export function clipCandidates({
  shrinkSteps = 20,
  smallestShrink = 0.5,
}: Pick<AwqClipRequest, "shrinkSteps" | "smallestShrink">): Float32Array {
  if (!Number.isSafeInteger(shrinkSteps) || shrinkSteps < 1 || !(smallestShrink > 0 && smallestShrink < 1)) {
    throw new KvantError("INVALID_ARGUMENT", `${shrinkSteps} steps down to ${smallestShrink} are no clipping search`);
  }
  return Float32Array.from({ length: shrinkSteps }, (_, step) => {
    return 1 - ((1 - smallestShrink) * (step + 1)) / shrinkSteps;
  });
}

function clipTensor({ values, rows, cols, gram }: AwqClipRequest, grid: CodeGrid, candidates: Float32Array): AwqClip {
  const { smallest, largest } = rangeOf(values, 0, values.length);
  const losses = [1, ...candidates].map((shrink) => {
    const { scale, zeroPoint } = shrunkScale(grid, smallest, largest, shrink);
    const scales = { scales: Float32Array.of(scale), zeroPoints: Int8Array.of(zeroPoint) };
    const errors = roundingErrors(values, roundMatrix(grid, scales, values, rows, cols), rows, cols, gram);
    return { ...scales, shrink, loss: total(errors) };
  });
  const best = losses.reduce((least, each) => (each.loss < least.loss ? each : least));
  const tensor = encodeOnGrid(grid, values, rows, cols, best.scales, best.zeroPoints);
  return { tensor, shrinks: Float32Array.of(best.shrink), lossBefore: losses[0]!.loss, lossAfter: best.loss };
}

function clipGroups(request: AwqClipRequest, grid: CodeGrid, candidates: Float32Array, size: number): AwqClip {
  const { values, rows, cols, gram } = request;
  const full = matrixScales(grid, wholeRangeScale, values, rows, cols);
  const fullErrors = roundingErrors(values, roundMatrix(grid, full, values, rows, cols), rows, cols, gram);
  const { shrinks, ...clipped } = searchShrinks(request, grid, candidates, size);
  const errors = roundingErrors(values, roundMatrix(grid, clipped, values, rows, cols), rows, cols, gram);
  const groups = shrinks.length / rows;
  for (let row = 0; row < rows; row++) {
    if (errors[row]! <= fullErrors[row]!) continue;
    errors[row] = fullErrors[row]!;
    const [from, to] = [row * groups, (row + 1) * groups];
    shrinks.fill(1, from, to);
    clipped.scales.set(full.scales.subarray(from, to), from);
    clipped.zeroPoints.set(full.zeroPoints.subarray(from, to), from);
  }
  const tensor = encodeOnGrid(grid, values, rows, cols, clipped.scales, clipped.zeroPoints);
  return { tensor, shrinks, lossBefore: total(fullErrors), lossAfter: total(errors) };
}

/** Per group of `size` columns in every row the candidate, or 1, with the least error of the group alone. */
function searchShrinks(
  { values, rows, cols, gram }: AwqClipRequest,
  grid: CodeGrid,
  candidates: Float32Array,
  size: number,
): GroupScales & { readonly shrinks: Float32Array } {
  const groups = Math.ceil(cols / size);
  const shrinks = new Float32Array(rows * groups);
  const scales = new Float32Array(rows * groups);
  const zeroPoints = new Int8Array(rows * groups);
  for (let group = 0; group < groups; group++) {
    const first = group * size;
    const width = Math.min(size, cols - first);
    const error = new Float64Array(rows * width);
    const least = new Float64Array(rows).fill(Infinity);
    const rowScales: GroupScale[] = new Array(rows);
    for (const shrink of [1, ...candidates]) {
      for (let row = 0; row < rows; row++) {
        const start = row * cols + first;
        const { smallest, largest } = rangeOf(values, start, start + width);
        const { scale, zeroPoint } = shrunkScale(grid, smallest, largest, shrink);
        rowScales[row] = { scale, zeroPoint };
        for (let i = 0; i < width; i++) {
          error[row * width + i] = values[start + i]! - grid.round(values[start + i]!, scale, zeroPoint);
        }
      }
      const errors = outputErrors(error, rows, width, tileAt(rowMajor(gram, cols), first, first));
      for (let row = 0; row < rows; row++) {
        if (errors[row]! >= least[row]!) continue;
        least[row] = errors[row]!;
        const index = row * groups + group;
        shrinks[index] = shrink;
        scales[index] = rowScales[row]!.scale;
        zeroPoints[index] = rowScales[row]!.zeroPoint;
      }
    }
  }
  return { shrinks, scales, zeroPoints };
}
