import type { LoadLevel } from "../load/load-result.ts";

/** The bins of a level's timeline that lie within its measured part as a whole; the warm-up and a last part of a bin do not. */
export function measuredBins<Value>(
  { seconds, warmUpSeconds = 0, timeline: { binSeconds } }: LoadLevel,
  values: readonly Value[],
): readonly Value[] {
  // Ends are sums of decimals: a millionth of a bin is not a bin.
  const slack = 1e-6;
  const first = Math.ceil(warmUpSeconds / binSeconds - slack);
  return values.slice(first, Math.floor((warmUpSeconds + seconds) / binSeconds + slack));
}
