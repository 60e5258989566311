import type { WeightFormat } from "@kvant/formats";
import type { CodeGrid, GroupScale } from "../grid/code-grid.ts";
import { boundedOption, matrixName, type QuantizeMethod, type QuantizeOptions } from "../method.ts";
import { quantizeByGroup } from "./search-scales.ts";

/** Cuts 1,678 values of a tensor [4096, 4096], one of 10,000, and next to nothing of a group of 128. */
const defaultPercentile = 99.99;

/**
 * Clips each group to a percentile of its magnitudes, so that a few outliers do not set the scale of all (McKinstry et al.
 * 2018, arXiv:1809.04191; Wu et al. 2020, arXiv:2004.09602). It takes no account of what the clipping itself costs.
 */
export const percentile = {
  name: "percentile",
  options: ["percentile"],
  quantize(
    values: Float32Array,
    rows: number,
    cols: number,
    weightFormat: WeightFormat,
    options: QuantizeOptions = {},
  ) {
    const name = matrixName(percentile, options);
    const percent = boundedOption("percentile", options.percentile ?? defaultPercentile, { above: 50, upTo: 100 });
    return quantizeByGroup(values, rows, cols, weightFormat, name, (grid, members, start, end) =>
      percentileScale(grid, members, start, end, percent),
    );
  },
} as const satisfies QuantizeMethod;

/**
 * The scale whose reach is a percentile of `values[start, end)`: of |x| in symmetric formats; in affine ones the range
 * between two percentiles of x that leave as many values out below as above, widened to contain zero. Percentiles lie between
 * ranks by linear interpolation, at `(count - 1) * percent / 100` from 0. Where so many values are zero that no range would
 * be left, the whole range is kept.
 */
export function percentileScale(
  grid: CodeGrid,
  values: Float32Array,
  start: number,
  end: number,
  percent: number,
): GroupScale {
  const sorted = values.slice(start, end);
  if (sorted.length === 0) return grid.scaleOf(0, 0);
  if (!grid.weightFormat.affine) {
    for (let i = 0; i < sorted.length; i++) sorted[i] = Math.abs(sorted[i]!);
    sorted.sort();
    const reach = quantile(sorted, percent / 100);
    return grid.scaleOf(0, reach > 0 ? reach : sorted.at(-1)!);
  }
  sorted.sort();
  const outside = (1 - percent / 100) / 2;
  const smallest = Math.min(0, quantile(sorted, outside));
  const largest = Math.max(0, quantile(sorted, 1 - outside));
  if (largest > smallest) return grid.scaleOf(smallest, largest);
  return grid.scaleOf(Math.min(0, sorted[0]!), Math.max(0, sorted.at(-1)!));
}

function quantile(sorted: Float32Array, share: number): number {
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)]!;
  const above = sorted[Math.ceil(place)]!;
  return Math.fround(below + (above - below) * (place - Math.floor(place)));
}
