import { KvantError } from "@kvant/core";
import { codeGrid } from "../grid/code-grid.ts";
import {
  type ActivationObserver,
  batchMaximum,
  clipScale,
  nothingObserved,
  type StaticScaleFormat,
} from "./activation-observer.ts";
import { Log2Histogram } from "./log2-histogram.ts";

/** The largest magnitude of all: nothing is clipped (Wu et al. 2020, arXiv:2004.09602, calibration "max"). */
export function minMaxObserver(): ActivationObserver {
  let largest: number | undefined;
  return {
    observe(x, tokens, width) {
      const batch = batchMaximum(x, tokens, width);
      if (x.length > 0) largest = Math.max(largest ?? 0, batch);
    },
    scale(format) {
      if (largest === undefined) throw nothingObserved();
      return clipScale(largest, format);
    },
  };
}

/**
 * The exponential moving average of the largest magnitudes of batches, `m = momentum * m + (1 - momentum) * max|x|`, begun
 * with the first (Jacob et al. 2018, arXiv:1712.05877, section 3.1). One odd batch counts little.
 * @throws KvantError INVALID_ARGUMENT if the momentum is not from 0 to below 1
 */
export function movingAverageObserver(momentum = 0.9): ActivationObserver {
  if (!(momentum >= 0 && momentum < 1)) {
    throw new KvantError("INVALID_ARGUMENT", `a momentum lies between 0 and 1, not at ${momentum}`);
  }
  let average: number | undefined;
  return {
    observe(x, tokens, width) {
      const batch = batchMaximum(x, tokens, width);
      if (x.length > 0) average = average === undefined ? batch : momentum * average + (1 - momentum) * batch;
    },
    scale(format) {
      if (average === undefined) throw nothingObserved();
      return clipScale(average, format);
    },
  };
}

/** An observer that keeps a histogram, which can be looked at and merged. */
export interface HistogramObserver extends ActivationObserver {
  readonly histogram: Log2Histogram;
}

/**
 * The magnitude that `percentile` of a hundred values do not exceed, to one bin of 1/64 upwards (Wu et al. 2020,
 * arXiv:2004.09602, calibration "percentile").
 * @throws KvantError INVALID_ARGUMENT if the percentile is not above 0 and up to 100
 */
export function percentileObserver(percentile = 99.99): HistogramObserver {
  if (!(percentile > 0 && percentile <= 100)) {
    throw new KvantError("INVALID_ARGUMENT", `a percentile lies above 0 and up to 100, not at ${percentile}`);
  }
  return histogramObserver((histogram) => histogram.quantile(percentile / 100));
}

// Clips from the largest magnitude down to 1/256 of it, 16 to an octave: neighbours are 4.4 % apart.
const clipsPerOctave = 16;
const octaves = 8;
const samplesPerBin = 4;

/**
 * The clip with the least squared error of quantization over all that was observed (Banner et al. 2019, arXiv:1810.05723,
 * section 3, by search over the histogram instead of an assumed distribution). A bin counts as values spread evenly over it.
 */
export function mseObserver(): HistogramObserver {
  return histogramObserver((histogram, format) => {
    let best = histogram.largest;
    let least = squaredError(histogram, best, format);
    for (let step = 1; step <= clipsPerOctave * octaves && least > 0; step++) {
      const clip = histogram.largest * 2 ** (-step / clipsPerOctave);
      const error = squaredError(histogram, clip, format);
      if (error < least) [best, least] = [clip, error];
    }
    return best;
  });
}

function squaredError(histogram: Log2Histogram, clip: number, format: StaticScaleFormat): number {
  const { round } = codeGrid({ format, granularity: { kind: "tensor" }, affine: false }, clip);
  const scale = clipScale(clip, format);
  let sum = 0;
  histogram.forEachBin((lower, upper, count) => {
    const last = Math.min(upper, histogram.largest);
    let errors = 0;
    for (let sample = 0; sample < samplesPerBin; sample++) {
      const value = Math.fround(lower + ((last - lower) * (sample + 0.5)) / samplesPerBin);
      errors += (value - round(value, scale, 0)) ** 2;
    }
    sum += (errors * count) / samplesPerBin;
  });
  return sum;
}

function histogramObserver(clipOf: (histogram: Log2Histogram, format: StaticScaleFormat) => number): HistogramObserver {
  const histogram = new Log2Histogram();
  return {
    histogram,
    observe(x, tokens, width) {
      batchMaximum(x, tokens, width);
      histogram.add(x);
    },
    scale(format) {
      if (histogram.count === 0) throw nothingObserved();
      return clipScale(clipOf(histogram, format), format);
    },
  };
}

/** Every observer by its name in recipes and on the command line. */
export const activationObservers = {
  "min-max": minMaxObserver,
  "moving-average": movingAverageObserver,
  percentile: percentileObserver,
  mse: mseObserver,
} as const satisfies Readonly<Record<string, (parameter?: number) => ActivationObserver>>;

export type ActivationObserverName = keyof typeof activationObservers;
