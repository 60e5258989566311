import { KvantError } from "@kvant/core";
import { formats, type WeightFormat, weightFormatName } from "@kvant/formats";
import type { CodeGrid, GroupScale } from "../grid/code-grid.ts";
import { rangeOf } from "../grid/group-scales.ts";
import { boundedOption, matrixName, type QuantizeMethod, type QuantizeOptions } from "../method.ts";
import { quantizeByGroup } from "./search-scales.ts";

/** As in TensorRT. */
const defaultBins = 2048;
/**
 * A bin holds this many values on average, or the histogram is one of chance: at one value per bin the divergence falls with
 * every bin that is clipped, and groups lose a quarter of their values.
 */
const valuesPerBin = 16;
/** More bins than this say nothing more about any format here, and cost time in proportion. */
const maxBins = 65_536;
/** Ranges that are tried: the whole one and parts of it in steps of 1/64. */
const ratioSteps = 64;

/**
 * Clips each group where the distribution of its quantized values tells the least apart from that of the values: the least
 * Kullback-Leibler divergence between their histograms, as TensorRT calibrates activations (Migacz, "8-bit Inference with
 * TensorRT", GTC 2017). Made for histograms of many values: a group with too few for more bins than codes
 * keeps its whole range.
 */
export const entropy = {
  name: "entropy",
  options: ["histogramBins"],
  quantize(
    values: Float32Array,
    rows: number,
    cols: number,
    weightFormat: WeightFormat,
    options: QuantizeOptions = {},
  ) {
    const name = matrixName(entropy, options);
    const bins = boundedOption("histogramBins", options.histogramBins ?? defaultBins, { above: 127, upTo: maxBins });
    if (weightFormat.scaleFormat !== undefined) {
      throw new KvantError(
        "INVALID_ARGUMENT",
        `${weightFormatName(weightFormat)} has a scale per 16 or 32 values, too few for the histogram that the method ` +
          "entropy compares; absmax, percentile and mse choose such scales",
      );
    }
    return quantizeByGroup(values, rows, cols, weightFormat, name, (grid, members, start, end) =>
      leastDivergenceScale(grid, members, start, end, Math.floor(bins)),
    );
  },
} as const satisfies QuantizeMethod;

/** Counts of values in `counts.length` bins of one width from `low` to `high`. */
interface Histogram {
  readonly low: number;
  readonly high: number;
  readonly counts: Float64Array; // [bins]
}

/**
 * The scale of `values[start, end)` with the least divergence. The histogram is of |x| in symmetric formats and of x in affine
 * ones, whose ranges shrink at both ends together, towards zero. As in TensorRT, at least as many bins stay as there are codes:
 * a histogram of fewer is its own quantized form.
 */
export function leastDivergenceScale(
  grid: CodeGrid,
  values: Float32Array,
  start: number,
  end: number,
  bins: number = defaultBins,
): GroupScale {
  const { smallest, largest } = rangeOf(values, start, end);
  let best = grid.scaleOf(smallest, largest);
  if (best.scale === 0) return best;
  const histogram = histogramOf(
    grid,
    values,
    start,
    end,
    smallest,
    largest,
    Math.min(bins, Math.ceil((end - start) / valuesPerBin)),
  );
  let leastDivergence = divergence(grid, best, histogram, 0, histogram.counts.length);
  const { format, affine } = grid.weightFormat;
  const codeCount = 2 ** (formats[format].bits - (affine ? 0 : 1)); // of one sign, as |x| has
  for (let steps = ratioSteps - 1; steps > 0; steps--) {
    const { first, last, low, high } = partOf(histogram, steps / ratioSteps);
    if (last - first < codeCount) break;
    const candidate = grid.scaleOf(Math.fround(low), Math.fround(high));
    const each = divergence(grid, candidate, histogram, first, last);
    if (each < leastDivergence) {
      leastDivergence = each;
      best = candidate;
    }
  }
  return best;
}

function histogramOf(
  grid: CodeGrid,
  values: Float32Array,
  start: number,
  end: number,
  smallest: number,
  largest: number,
  bins: number,
): Histogram {
  const { affine } = grid.weightFormat;
  const low = affine ? smallest : 0;
  const high = affine ? largest : Math.max(-smallest, largest);
  const counts = new Float64Array(bins);
  for (let i = start; i < end; i++) {
    const value = affine ? values[i]! : Math.abs(values[i]!);
    const bin = Math.floor(((value - low) / (high - low)) * bins);
    counts[Math.min(bin, bins - 1)]!++;
  }
  return { low, high, counts };
}

/** The bins [first, last) that are left where the range shrinks towards zero, and the range that they cover. */
function partOf({ low, high, counts }: Histogram, ratio: number) {
  const bins = counts.length;
  const width = (high - low) / bins;
  const zero = -low / width; // where zero lies, in bins
  const first = Math.floor(zero * (1 - ratio));
  const last = bins - Math.floor((bins - zero) * (1 - ratio));
  return { first, last, low: Math.min(0, low + first * width), high: Math.max(0, low + last * width) };
}

/**
 * Kullback-Leibler divergence of the histogram, clipped to the bins [first, last), from its quantized form. What lies beyond
 * is counted into the outermost bins of the former and left out of the latter, so that clipping costs. Bins whose middles
 * get the same code share their mass evenly, empty bins excepted. Infinite where only clipped values have a code.
 */
function divergence(
  grid: CodeGrid,
  { scale, zeroPoint }: GroupScale,
  { low, high, counts }: Histogram,
  first: number,
  last: number,
): number {
  const width = (high - low) / counts.length;
  const clipped = counts.slice(first, last);
  let total = 0;
  for (let bin = 0; bin < counts.length; bin++) {
    total += counts[bin]!;
    if (bin < first) clipped[0]! += counts[bin]!;
    if (bin >= last) clipped[clipped.length - 1]! += counts[bin]!;
  }
  let kept = 0;
  for (let bin = first; bin < last; bin++) kept += counts[bin]!;

  const codeOf = (bin: number) => grid.round(low + (bin + 0.5) * width, scale, zeroPoint);
  let sum = 0;
  let begin = first;
  while (begin < last) {
    const code = codeOf(begin);
    let end = begin;
    let mass = 0;
    let filledBins = 0;
    for (; end < last && codeOf(end) === code; end++) {
      mass += counts[end]!;
      if (clipped[end - first]! > 0) filledBins++;
    }
    if (filledBins > 0 && mass === 0) return Infinity;
    for (let bin = begin; bin < end; bin++) {
      const share = clipped[bin - first]! / total;
      if (share > 0) sum += share * Math.log((share * kept * filledBins) / mass);
    }
    begin = end;
  }
  return sum;
}
