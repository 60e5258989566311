import type { WeightFormat } from "@kvant/formats";
import type { CodeGrid, GroupScale } from "../grid/code-grid.ts";
import { rangeOf } from "../grid/group-scales.ts";
import { boundedOption, matrixName, type QuantizeMethod, type QuantizeOptions } from "../method.ts";
import { quantizeByGroup } from "./search-scales.ts";
import { squaredError } from "./squared-error.ts";

/** A ternary code over normal weights does best at 0.3 of their largest magnitude, and lower where there are outliers. */
const defaultSmallestRatio = 1 / 16;
/** Coarse steps for a factor of two in the range, and fine steps for a coarse one. */
const stepsPerOctave = 8;
const fineSteps = 8;

/**
 * Gives each group the scale with the least squared error: clipping costs the outliers, and the finer steps pay the rest. Never
 * worse than `absmax` on any group, because its scale is among those that are tried.
 */
export const mse = {
  name: "mse",
  options: ["smallestRatio"],
  quantize(
    values: Float32Array,
    rows: number,
    cols: number,
    weightFormat: WeightFormat,
    options: QuantizeOptions = {},
  ) {
    const name = matrixName(mse, options);
    const ratio = boundedOption("smallestRatio", options.smallestRatio ?? defaultSmallestRatio, { above: 0, upTo: 1 });
    return quantizeByGroup(values, rows, cols, weightFormat, name, (grid, members, start, end) =>
      leastErrorScale(grid, members, start, end, ratio),
    );
  },
} as const satisfies QuantizeMethod;

/**
 * The scale of `values[start, end)` with the least squared error. What is tried are parts of their range: 1, 2^(-1/8),
 * 2^(-2/8), ... down to `smallestRatio`, then seven steps of 2^(1/64) to either side of the best. Affine ranges shrink at both ends together, and after that
 * at each end alone. MX scales are powers of two, of which the AbsMax one, its double, half and quarter are tried; NVFP4's
 * are E4M3 numbers, those from 9/8 down to half of the AbsMax one.
 */
export function leastErrorScale(
  grid: CodeGrid,
  values: Float32Array,
  start: number,
  end: number,
  smallestRatio: number = defaultSmallestRatio,
): GroupScale {
  const { smallest, largest } = rangeOf(values, start, end);
  let best = grid.scaleOf(smallest, largest);
  let leastError = squaredError(grid, best, values, start, end, Infinity);

  /** Whether the range is better than all before. */
  const improves = (low: number, high: number): boolean => {
    const candidate = grid.scaleOf(Math.fround(low), Math.fround(high));
    if (candidate.scale === best.scale && candidate.zeroPoint === best.zeroPoint) return false;
    const error = squaredError(grid, candidate, values, start, end, leastError);
    if (!(error < leastError)) return false;
    best = candidate;
    leastError = error;
    return true;
  };

  const { affine, scaleFormat } = grid.weightFormat;
  if (scaleFormat !== undefined) {
    for (const ratio of blockRatios(scaleFormat)) improves(smallest * ratio, largest * ratio);
    return best;
  }
  const ratio = bestRatio(smallestRatio, 1, (each) => improves(smallest * each, largest * each));
  if (affine && smallest < 0 && largest > 0) {
    const top = bestRatio(smallestRatio, ratio, (each) => improves(smallest * ratio, largest * each));
    bestRatio(smallestRatio, ratio, (each) => improves(smallest * each, largest * top));
  }
  return best;
}

/** The last ratio that improved, or `current`: coarse steps over all, then fine ones around the best. */
function bestRatio(smallestRatio: number, current: number, improves: (ratio: number) => boolean): number {
  let best = current;
  const consider = (ratio: number) => {
    if (ratio >= smallestRatio && ratio <= 1 && improves(ratio)) best = ratio;
  };
  const coarseSteps = Math.floor(-Math.log2(smallestRatio) * stepsPerOctave);
  for (let step = 0; step <= coarseSteps; step++) consider(2 ** (-step / stepsPerOctave));
  const middle = best;
  for (let step = 1; step < fineSteps; step++) {
    const factor = 2 ** (step / (stepsPerOctave * fineSteps));
    consider(middle * factor);
    consider(middle / factor);
  }
  return best;
}

function blockRatios(scaleFormat: "e8m0" | "e4m3"): readonly number[] {
  if (scaleFormat === "e8m0") return [2, 0.5, 0.25];
  // Steps of 1/32: half of the least distance between neighbouring E4M3 numbers, so that none is passed over.
  return Array.from({ length: 21 }, (_, step) => (36 - step) / 32);
}
