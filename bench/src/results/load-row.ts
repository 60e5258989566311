import type { LatencySummary, LoadLevel, LoadResult } from "../load/load-result.ts";
import { failedCount } from "./load-tables.ts";

/** Latencies of a row, without their distribution. */
export type RowLatency = Omit<LatencySummary, "cumulative">;

/**
 * A level in one flat row for scripts: what `--json` prints. Absent is what nobody measured. The server's scheme (`weights`,
 * `activations`, `kvFormat`, `device`, ...) stands among the fields where it is told.
 */
export interface LoadRow {
  readonly target: string;
  readonly model: string;
  readonly dialect: string;
  readonly workload: string;
  readonly level: string;
  readonly streams?: number;
  readonly requestsPerSecond?: number;
  readonly requests: number;
  readonly completed: number;
  readonly promptTokens: number;
  /** Of `promptTokens`, found in the server's prefix cache. */
  readonly cachedTokens?: number;
  readonly failures: number;
  /** One for each kind of failure. */
  readonly failureSentences: readonly string[];
  readonly seconds: number;
  readonly outputTokensPerSecond: number;
  readonly totalTokensPerSecond: number;
  readonly requestsCompletedPerSecond: number;
  readonly goodRequestsPerSecond?: number;
  readonly goodShare?: number;
  readonly firstTokenSeconds?: RowLatency;
  readonly interTokenSeconds?: RowLatency;
  readonly outputTokenSeconds?: RowLatency;
  readonly endToEndSeconds?: RowLatency;
  readonly sendDelaySeconds?: RowLatency;
  readonly queueSeconds?: RowLatency;
}

export function loadRow({ server, workload }: Pick<LoadResult, "server" | "workload">, level: LoadLevel): LoadRow {
  const { target, model, dialect, scheme } = server;
  const { concurrency, requestsPerSecond, goodRequestsPerSecond, goodShare, cachedTokens } = level;
  const present = {
    ...{ streams: concurrency, requestsPerSecond, goodRequestsPerSecond, goodShare, cachedTokens },
    firstTokenSeconds: rowLatency(level.timeToFirstToken),
    interTokenSeconds: rowLatency(level.interToken),
    outputTokenSeconds: rowLatency(level.timePerOutputToken),
    endToEndSeconds: rowLatency(level.endToEnd),
    sendDelaySeconds: rowLatency(level.sendDelay),
    queueSeconds: rowLatency(level.serverQueue),
  };
  return {
    ...scheme,
    ...{ target, model, dialect, workload, level: level.name },
    requests: level.requests,
    completed: level.completed,
    promptTokens: level.promptTokens,
    failures: failedCount(level),
    failureSentences: Object.values(level.failureExamples),
    seconds: level.seconds,
    outputTokensPerSecond: level.outputTokensPerSecond,
    totalTokensPerSecond: level.totalTokensPerSecond,
    requestsCompletedPerSecond: level.requestsCompletedPerSecond,
    ...Object.fromEntries(Object.entries(present).filter(([, value]) => value !== undefined)),
  };
}

function rowLatency(summary: LatencySummary | undefined): RowLatency | undefined {
  if (summary === undefined) return undefined;
  const { cumulative: _, ...rest } = summary;
  return rest;
}
