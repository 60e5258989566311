import type { LineSeries } from "./plot.ts";

/**
 * The empirical distribution function of samples as a series: at x, the share of samples that are at most x. Of more than
 * `pointCount` samples evenly spaced ranks are kept, the smallest and the largest among them.
 */
export function cumulative(name: string, samples: readonly number[], pointCount = 400): LineSeries {
  const sorted = samples.filter(Number.isFinite).sort((a, b) => a - b);
  const x: number[] = [];
  const y: number[] = [];
  const last = sorted.length - 1;
  const kept = Math.min(pointCount, sorted.length);
  for (let i = 0; i < kept; i++) {
    const rank = kept === 1 ? last : Math.round((i * last) / (kept - 1));
    const share = (rank + 1) / sorted.length;
    // Equal samples are one step, as high as the last of them.
    if (x.at(-1) === sorted[rank]) y[y.length - 1] = share;
    else {
      x.push(sorted[rank]!);
      y.push(share);
    }
  }
  return { name, x, y, shape: "steps" };
}
