import type { LoadHistograms, LoadRun } from "../client/load-run.ts";
import type { LatencyHistogram } from "../load/latency-histogram.ts";
import type { LatencySummary, LoadLevel } from "../load/load-result.ts";
import type { RequestRecord } from "../load/request-record.ts";
import { keepsObjectives, type Objectives } from "./objectives.ts";
import { pauseP99 } from "./pauses.ts";
import { loadTimeline } from "./timeline-bins.ts";

export interface LoadLevelOptions {
  readonly name: string;
  readonly concurrency?: number;
  readonly requestsPerSecond?: number;
  /** Absent without `--slo`. */
  readonly objectives?: Objectives;
  /** Requests whose latencies are kept one by one. */
  readonly sampleLimit?: number;
}

/** So many pin down a 99th percentile to about a tenth of its distance from the 98th, in 200 kB of JSON. */
const defaultSampleLimit = 5000;

/** What a run of one load comes to: rates over its measured part, latencies, what failed, and how it went over time. */
export function loadLevel(run: LoadRun, options: LoadLevelOptions): LoadLevel {
  const { name, concurrency, requestsPerSecond, objectives, sampleLimit = defaultSampleLimit } = options;
  const { totals, histograms, measuredFrom, measuredUntil } = run;
  const seconds = measuredUntil - measuredFrom;
  const perSecond = (count: number): number => (seconds > 0 ? count / seconds : 0);
  return {
    name,
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
    seconds,
    ...(measuredFrom > 0 ? { warmUpSeconds: measuredFrom } : {}),
    requests: totals.requests,
    completed: totals.completed,
    failures: totals.failures,
    failureExamples: totals.failureExamples,
    promptTokens: totals.promptTokens,
    ...(totals.cachedTokens === undefined ? {} : { cachedTokens: totals.cachedTokens }),
    outputTokens: totals.outputTokens,
    countedBy: totals.countedBy,
    outputTokensPerSecond: perSecond(run.tokensArrived),
    totalTokensPerSecond: perSecond(run.tokensArrived + run.promptTokensRead),
    requestsCompletedPerSecond: perSecond(run.requestsCompleted),
    ...(objectives === undefined ? {} : goodput(run, objectives, perSecond)),
    ...summaries(histograms),
    timeline: loadTimeline(run.bins, run.serverSamples),
    samples: samplesOf(run.records, sampleLimit),
  };
}

/** Where only a sample of the records was kept, its share of good ones stands for all; what it was counted over is told. */
function goodput(
  { records, totals }: LoadRun,
  objectives: Objectives,
  perSecond: (count: number) => number,
): Pick<LoadLevel, "goodShare" | "goodShareOf" | "goodRequestsPerSecond"> {
  const good = records.filter((record) => keepsObjectives(record, objectives)).length;
  const goodShare = records.length === 0 ? 0 : good / records.length;
  return {
    goodShare,
    goodShareOf: records.length,
    goodRequestsPerSecond: perSecond(goodShare * totals.requests),
  };
}

/** Latencies of which there is none are absent. */
function summaries(histograms: LoadHistograms): { readonly [name in keyof LoadHistograms]?: LatencySummary } {
  return Object.fromEntries(
    Object.entries(histograms).flatMap(([name, histogram]: [string, LatencyHistogram]) => {
      const summary = histogram.summary();
      return summary === undefined ? [] : [[name, summary]];
    }),
  );
}

/** Of the requests that ended well, in the order in which they were due, so that neighbours in time stay neighbours. */
function samplesOf(records: readonly RequestRecord[], limit: number): LoadLevel["samples"] {
  const completed = records.filter(({ failure }) => failure === undefined).sort((a, b) => a.dueAt - b.dueAt);
  const count = Math.min(limit, completed.length);
  const drawn = Array.from({ length: count }, (_, i) => completed[Math.floor((i * completed.length) / count)]!);
  return {
    timeToFirstToken: drawn.flatMap(({ firstTokenAt, dueAt }) =>
      firstTokenAt === undefined ? [] : microseconds(firstTokenAt - dueAt),
    ),
    timePerOutputToken: drawn.flatMap(({ firstTokenAt, lastTokenAt, outputTokens }) =>
      firstTokenAt === undefined || lastTokenAt === undefined || outputTokens < 2
        ? []
        : microseconds((lastTokenAt - firstTokenAt) / (outputTokens - 1)),
    ),
    interTokenP99: drawn.flatMap((record) => {
      const pause = pauseP99(record);
      return pause === undefined ? [] : microseconds(pause);
    }),
    endToEnd: drawn.map(({ endedAt, dueAt }) => microseconds(endedAt - dueAt)),
    outputTokens: drawn.map(({ outputTokens }) => outputTokens),
  };
}

/** Seconds in whole microseconds: no clock of a client is finer, and a double prints three times as long. */
function microseconds(seconds: number): number {
  return Math.round(seconds * 1e6) / 1e6;
}
