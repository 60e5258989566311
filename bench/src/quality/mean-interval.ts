import { studentQuantile } from "./student-quantile.ts";

/** Values that were drawn together, such as those of the tokens of one window. */
export interface Cluster {
  readonly count: number;
  readonly sum: number;
}

/** A mean and the ends of its 95 % interval, which are null where there is no more than one cluster to tell them from. */
export interface MeanInterval {
  readonly mean: number;
  readonly low: number | null;
  readonly high: number | null;
}

/**
 * The mean m over all values of all clusters, with its 95 % interval. Neighbouring tokens depend on each other, so that
 * clusters count, not values: the error is the clustered one of a ratio of sums (W. G. Cochran, "Sampling Techniques", 3rd
 * edition, 1977, section 6.4),
 *
 *     se^2 = W / (W - 1) * sum_w (sum_w - m count_w)^2 / (sum_w count_w)^2        over W clusters,
 *
 * and the interval m -+ t se with the quantile of Student's t of W - 1 degrees of freedom. Given differences of two models on
 * the same tokens it is the paired interval of E. Miller, "Adding Error Bars to Evals" (arXiv:2411.00640). Rather than a
 * bootstrap over clusters: it draws nothing, so it is the same on every run, and of a handful of clusters, where resampling
 * them gives intervals that are too narrow, t knows that they are few.
 * @param clusters at least one, with at least one value among them
 */
export function meanInterval(clusters: readonly Cluster[]): MeanInterval {
  const count = clusters.reduce((sum, cluster) => sum + cluster.count, 0);
  const mean = clusters.reduce((sum, cluster) => sum + cluster.sum, 0) / count;
  if (clusters.length < 2) return { mean, low: null, high: null };
  const squares = clusters.reduce((sum, cluster) => sum + (cluster.sum - mean * cluster.count) ** 2, 0);
  const error = Math.sqrt((clusters.length / (clusters.length - 1)) * squares) / count;
  const reach = studentQuantile(clusters.length - 1) * error;
  return { mean, low: mean - reach, high: mean + reach };
}
