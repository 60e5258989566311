/**
 * Nearest ranks: for each percentage the smallest value such that at least that share of all values are at or below it. Always
 * one of the values, never between two of them; 0 gives the smallest.
 * @param values `[n]` in any order, at least one; left as they are
 * @param percents from 0 to 100
 * @returns `[percents]`
 */
export function percentiles(values: ArrayLike<number>, percents: readonly number[]): readonly number[] {
  const sorted = Float64Array.from(values).sort();
  // The product first: 0.07 * 100 is a little more than 7, and its ceiling 8.
  return percents.map((percent) => sorted[Math.max(0, Math.ceil((percent * sorted.length) / 100) - 1)]!);
}
