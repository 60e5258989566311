import { median } from "../median.ts";
import type { ColdMedians, ColdRun, StartKind } from "./cold-result.ts";

/** The medians of each kind of start that has runs, cold first. */
export function coldMedians(runs: readonly ColdRun[]): readonly ColdMedians[] {
  return (["cold", "warm"] as const).flatMap((start) => {
    const same = runs.filter((run) => run.start === start);
    return same.length === 0 ? [] : [medianRun(start, same)];
  });
}

function medianRun(start: StartKind, runs: readonly ColdRun[]): ColdMedians {
  const of = (pick: (run: ColdRun) => number): number => median(runs.map(pick));
  const peaks = runs.flatMap(({ peakResidentBytes }) => peakResidentBytes ?? []);
  return {
    start,
    runs: runs.length,
    at: {
      loading: of(({ at }) => at.loading),
      loaded: of(({ at }) => at.loaded),
      listening: of(({ at }) => at.listening),
      ready: of(({ at }) => at.ready),
      firstToken: of(({ at }) => at.firstToken),
      firstStep: of(({ at }) => at.firstStep),
    },
    loadSeconds: of(({ loadSeconds }) => loadSeconds),
    firstTokenSeconds: of(({ firstTokenSeconds }) => firstTokenSeconds),
    firstStepSeconds: of(({ firstStepSeconds }) => firstStepSeconds),
    laterStepSeconds: of(({ laterStepSeconds }) => laterStepSeconds),
    peakResidentBytes:
      peaks.length === 0
        ? null
        : { server: median(peaks.map(({ server }) => server)), engine: median(peaks.map(({ engine }) => engine)) },
  };
}
