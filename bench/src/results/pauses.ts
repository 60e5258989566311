import type { RequestRecord } from "../load/request-record.ts";

/** The share of a request's pauses that may be longer than its 99th percentile. */
const shareAbove = 0.01;

/**
 * The 99th percentile of a request's pauses between tokens by nearest rank: the shortest pause such that at most one in a hundred
 * is longer, of fewer than a hundred the longest. A chunk of k tokens ends k pauses, each a k-th of its gap; where nobody told
 * which chunk held how many tokens, each held as many as they did on average.
 * @returns seconds; undefined without pauses
 */
export function pauseP99({ gaps, gapTokens, outputTokens }: RequestRecord): number | undefined {
  const average = Math.max(1, outputTokens / (gaps.length + 1));
  const pauses = Array.from(gaps, (gap, i) => {
    const count = gapTokens?.[i] ?? average;
    return { seconds: gap / count, count };
  }).sort((a, b) => b.seconds - a.seconds);
  const all = pauses.reduce((sum, { count }) => sum + count, 0);
  let longer = 0;
  return pauses.find(({ count }) => {
    longer += count;
    return longer / all > shareAbove;
  })?.seconds;
}
