import { percentiles } from "../percentiles.ts";
import type { RandomSource } from "../workload/random-source.ts";

/** What is computed of a sample: its mean, or a percentile by nearest rank. */
export type Statistic = { readonly kind: "mean" } | { readonly kind: "percentile"; readonly percent: number };

/**
 * A statistic's values over resamples of a series that are drawn by the circular block bootstrap (D. N. Politis and J. P. Romano,
 * "A circular block-resampling procedure for stationary data", 1992): stretches of neighbouring values, the end joined to the
 * start. Requests that ran side by side met the same queue, so single draws would promise too much. Stretches are n^(1/3)
 * long, the order that estimates a variance best (P. Hall, J. L. Horowitz and B.-Y. Jing, Biometrika 82, 1995); where values
 * are independent after all they cost next to nothing.
 * @param values `[n]` in the order of time, at least one
 * @returns `[resampleCount]` for each statistic, all of the same resamples
 */
export function resampled(
  values: ArrayLike<number>,
  statistics: readonly Statistic[],
  resampleCount: number,
  random: RandomSource,
): readonly Float64Array[] {
  const count = values.length;
  const order = Uint32Array.from({ length: count }, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const sorted = Float64Array.from(order, (index) => values[index]!);
  const rankOf = new Uint32Array(count);
  order.forEach((index, rank) => {
    rankOf[index] = rank;
  });
  const stretch = Math.ceil(count ** (1 / 3));
  const results = statistics.map(() => new Float64Array(resampleCount));
  // A resample is how often each rank was drawn: a percentile of it then takes one pass and no sort.
  const drawn = new Uint32Array(count);
  for (let resample = 0; resample < resampleCount; resample++) {
    drawn.fill(0);
    for (let left = count; left > 0; left -= stretch) {
      const start = random.below(count);
      for (let i = 0; i < Math.min(stretch, left); i++) drawn[rankOf[(start + i) % count]!]!++;
    }
    statistics.forEach((statistic, which) => {
      results[which]![resample] = statisticOf(statistic, sorted, drawn);
    });
  }
  return results;
}

/** Of values given `[n]` ascending and how often each was drawn, n times in all. */
function statisticOf(statistic: Statistic, sorted: Float64Array, drawn: Uint32Array): number {
  switch (statistic.kind) {
    case "mean":
      return sorted.reduce((sum, value, rank) => sum + value * drawn[rank]!, 0) / sorted.length;
    case "percentile": {
      const wanted = Math.max(1, Math.ceil((statistic.percent * sorted.length) / 100));
      let seen = drawn[0]!;
      let rank = 0;
      while (seen < wanted) seen += drawn[++rank]!;
      return sorted[rank]!;
    }
    default:
      return statistic satisfies never;
  }
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/**
 * The 95 % interval of `after / before - 1` by the percentile method (B. Efron and R. J. Tibshirani, "An Introduction to the
 * Bootstrap", 1993, chapter 13). Rather than BCa: its acceleration comes from leaving out one value at a time, which has no
 * meaning for a percentile, nor for values that depend on their neighbours.
 * @param before `[n]` values of a statistic over resamples of the one series, positive
 * @param after `[n]` of the other
 */
export function ratioInterval(before: Float64Array, after: Float64Array): Interval {
  const [low, high] = percentiles(
    before.map((value, i) => after[i]! / value - 1),
    [2.5, 97.5],
  );
  return { low: low!, high: high! };
}

/** The 97.5 % quantile of the normal distribution. */
const z = 1.959963984540054;

/**
 * The 95 % interval of the difference of two shares, `after - before`, by R. G. Newcombe, "Interval estimation for the difference
 * between independent proportions", Statistics in Medicine 17 (1998), method 10. It knows that 0 of 20 is not 0 for certain,
 * which a bootstrap cannot.
 */
export function shareDifferenceInterval(before: CountedShare, after: CountedShare): Interval {
  const [p, q] = [before.count / before.of, after.count / after.of];
  const [a, b] = [wilsonInterval(before), wilsonInterval(after)];
  const difference = q - p;
  return {
    low: difference - Math.hypot(q - b.low, a.high - p),
    high: difference + Math.hypot(b.high - q, p - a.low),
  };
}

/** `count` of `of` trials, of which there is at least one. */
export interface CountedShare {
  readonly count: number;
  readonly of: number;
}

/** E. B. Wilson's score interval of a share (1927). */
function wilsonInterval({ count, of }: CountedShare): Interval {
  const middle = count + z ** 2 / 2;
  const reach = z * Math.sqrt((count * (of - count)) / of + z ** 2 / 4);
  return { low: (middle - reach) / (of + z ** 2), high: (middle + reach) / (of + z ** 2) };
}
