import type { RandomSource } from "./random-source.ts";

/** How lengths or times are spread. `uniform` has both ends; a lognormal's logarithm has mean ln(median). */
export type Distribution =
  | { readonly kind: "fixed"; readonly value: number }
  | { readonly kind: "uniform"; readonly low: number; readonly high: number }
  | { readonly kind: "normal"; readonly mean: number; readonly deviation: number }
  | { readonly kind: "lognormal"; readonly median: number; readonly sigma: number }
  | { readonly kind: "exponential"; readonly mean: number }
  | { readonly kind: "empirical"; readonly values: Float64Array; readonly path: string };

/** A real number; `normal` and `lognormal` are unbounded. */
function draw(distribution: Distribution, random: RandomSource): number {
  switch (distribution.kind) {
    case "fixed":
      return distribution.value;
    case "uniform":
      return distribution.low + random.uniform() * (distribution.high - distribution.low);
    case "normal":
      return distribution.mean + distribution.deviation * random.normal();
    case "lognormal":
      return distribution.median * Math.exp(distribution.sigma * random.normal());
    case "exponential":
      return distribution.mean * random.exponential();
    case "empirical":
      return distribution.values[random.below(distribution.values.length)]!;
    default:
      return distribution satisfies never;
  }
}

/** A number of things, rounded to nearest: at least 1, so that the lower tail of a normal collects there, at most `most`. */
export function drawCount(distribution: Distribution, random: RandomSource, most = Number.POSITIVE_INFINITY): number {
  const { kind } = distribution;
  // Rounding a uniform real would halve the share of both ends.
  const value =
    kind === "uniform"
      ? distribution.low + random.below(distribution.high - distribution.low + 1)
      : Math.round(draw(distribution, random));
  return Math.min(Math.max(value, 1), most);
}

/** Seconds, at least 0: the lower tail of a normal collects there. */
export function drawSeconds(distribution: Distribution, random: RandomSource): number {
  return Math.max(draw(distribution, random), 0);
}

/** `200-800`, `about 512 (lognormal, sigma 0.5)`: stands before the unit in a sentence. */
export function describeDistribution(distribution: Distribution): string {
  switch (distribution.kind) {
    case "fixed":
      return `${distribution.value}`;
    case "uniform":
      return `${distribution.low}-${distribution.high}`;
    case "normal":
      return `about ${distribution.mean} (normal, deviation ${distribution.deviation})`;
    case "lognormal":
      return `about ${distribution.median} (lognormal, sigma ${distribution.sigma})`;
    case "exponential":
      return `about ${distribution.mean} (exponential)`;
    case "empirical":
      return `drawn from the ${distribution.values.length} of ${distribution.path}`;
    default:
      return distribution satisfies never;
  }
}
