import type { LoadBins, ServerSample } from "../client/load-run.ts";
import type { Timeline } from "../load/load-result.ts";

/** Samples come once a second; a gap of more than two of them means that the server's metrics could not be read. */
const heldSeconds = 2;

/** Counts of the client and samples of the server's metrics, on the client's bins. */
export function loadTimeline(bins: LoadBins, samples: readonly ServerSample[]): Timeline {
  const { binSeconds, outputTokens, requestsStarted, requestsEnded, failures, inFlight } = bins;
  const count = outputTokens.length;
  const held = (name: Exclude<keyof ServerSample, "at" | "preemptions">): readonly (number | null)[] | undefined =>
    samples.some((sample) => sample[name] !== undefined)
      ? heldValues(samples, (sample) => sample[name], binSeconds, count)
      : undefined;
  const server = {
    running: held("running"),
    waiting: held("waiting"),
    kvUsage: held("kvUsage"),
    preemptions: preemptionCounts(samples, binSeconds, count),
    residentBytes: held("residentBytes"),
    deviceBytes: held("deviceBytes"),
  };
  return {
    binSeconds,
    outputTokensPerSecond: outputTokens.map((tokens) => tokens / binSeconds),
    requestsStarted,
    requestsEnded,
    failures,
    inFlight,
    server: Object.fromEntries(Object.entries(server).filter(([, values]) => values !== undefined)),
  };
}

/** In each bin the latest sample before its end; null where it is too old. */
function heldValues(
  samples: readonly ServerSample[],
  read: (sample: ServerSample) => number | undefined,
  binSeconds: number,
  count: number,
): readonly (number | null)[] {
  let next = 0;
  let last: { readonly at: number; readonly value: number } | undefined;
  return Array.from({ length: count }, (_, bin) => {
    const end = (bin + 1) * binSeconds;
    for (; next < samples.length && samples[next]!.at < end; next++) {
      const value = read(samples[next]!);
      if (value !== undefined) last = { at: samples[next]!.at, value };
    }
    return last === undefined || last.at < end - binSeconds - heldSeconds ? null : last.value;
  });
}

/** In each bin by how much the server's counter had grown at its samples; a counter that fell has restarted at 0. */
function preemptionCounts(
  samples: readonly ServerSample[],
  binSeconds: number,
  count: number,
): readonly (number | null)[] | undefined {
  const told = samples.flatMap(({ at, preemptions }) => (preemptions === undefined ? [] : [{ at, preemptions }]));
  if (told.length === 0) return undefined;
  const counts = new Array<number>(count).fill(0);
  told.slice(1).forEach(({ at, preemptions }, i) => {
    const before = told[i]!.preemptions;
    const bin = Math.min(count - 1, Math.floor(at / binSeconds));
    if (count > 0) counts[bin]! += preemptions >= before ? preemptions - before : preemptions;
  });
  return counts;
}
