import type { LatencyHistogram } from "../load/latency-histogram.ts";
import type { LoadLevel } from "../load/load-result.ts";
import type { RequestRecord } from "../load/request-record.ts";

/** What the server's metrics said at one moment; a figure that they lack is absent. */
export interface ServerSample {
  /** Seconds after the start of the load. */
  readonly at: number;
  readonly running?: number;
  readonly waiting?: number;
  /** Used share of the KV cache, 0 to 1. */
  readonly kvUsage?: number;
  /** Since the server's start. */
  readonly preemptions?: number;
  readonly residentBytes?: number;
  readonly deviceBytes?: number;
}

/**
 * Counts over equal bins from the start of the load, of all requests, warm-up too: `[bins]` each. Long loads have wider bins,
 * never more than 1200 of them.
 */
export interface LoadBins {
  readonly binSeconds: number;
  /** At the time at which they came. */
  readonly outputTokens: readonly number[];
  readonly requestsStarted: readonly number[];
  readonly requestsEnded: readonly number[];
  /** At the time at which they ended. */
  readonly failures: readonly number[];
  /** Open at the end of the bin. */
  readonly inFlight: readonly number[];
}

/**
 * Of the measured requests: those that were due after the warm-up. Of a failed one what came counts (its first token, its
 * gaps), but neither its end nor its time per token.
 */
export interface LoadHistograms {
  /** Due to first token. */
  readonly timeToFirstToken: LatencyHistogram;
  /** Between tokens: a chunk of k tokens counts k times with a k-th of its gap. */
  readonly interToken: LatencyHistogram;
  readonly timePerOutputToken: LatencyHistogram;
  readonly endToEnd: LatencyHistogram;
  readonly sendDelay: LatencyHistogram;
  /** In the server's queue, where its answers tell (Kvant's gRPC); empty where they do not. */
  readonly serverQueue: LatencyHistogram;
}

/** Of the measured requests, all of them, whether or not their records were kept. */
export type LoadTotals = Pick<
  LoadLevel,
  | "requests"
  | "completed"
  | "failures"
  | "failureExamples"
  | "promptTokens"
  | "cachedTokens"
  | "outputTokens"
  | "countedBy"
>;

/** What the client itself did: whether the figures are the server's or its own. */
export interface ClientLoad {
  readonly workers: number;
  /** Share of the time, 0 to 1, in which the busiest worker's event loop was not waiting; over the whole load. */
  readonly busyShare: number;
  /** The same in seconds, of all workers together. */
  readonly busySeconds: number;
  /** How much later than asked the busiest worker's timers ran, 99 of 100. */
  readonly loopDelayP99Seconds: number;
}

/** What a load gave. Seconds after its start, by one monotonic clock. */
export interface LoadRun {
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  /** The start by `process.hrtime`, which is one clock for all processes of a machine. */
  readonly startNanoseconds: bigint;
  /** Where the warm-up ended: requests due before are in no histogram and no total. 0 without one. */
  readonly measuredFrom: number;
  /** The end of the measured part: of the time given, or, where requests ran out or were interrupted before it, of the last one. */
  readonly measuredUntil: number;
  /** When the last request had ended. */
  readonly endedAt: number;
  /** The signal ended it: requests that were open are failures of kind `cancelled`. */
  readonly isInterrupted: boolean;
  /**
   * Of measured requests, in no order; all of them up to `recordLimit`, beyond it an even random sample of so many, which
   * `recordsAreSampled` says.
   */
  readonly records: readonly RequestRecord[];
  readonly recordsAreSampled: boolean;
  readonly histograms: LoadHistograms;
  readonly totals: LoadTotals;
  /**
   * Tokens that came in [measuredFrom, measuredUntil), of whatever request (after a warm-up of so many requests: of measured
   * ones): over the time between it is the throughput.
   */
  readonly tokensArrived: number;
  /** Requests that ended well in the same time. */
  readonly requestsCompleted: number;
  /** By the server's usage or as planned, of the requests whose first token came in the same time. */
  readonly promptTokensRead: number;
  readonly bins: LoadBins;
  /** One a second, in order; empty where there are no metrics. */
  readonly serverSamples: readonly ServerSample[];
  readonly client: ClientLoad;
  /** Sentences for people: a busy client, metrics that could not be read, answers that were counted by chunks, … */
  readonly warnings: readonly string[];
}

export interface LiveQuantiles {
  readonly p50: number;
  readonly p99: number;
}

/** Counters of a running load, warm-up included, about four times a second. */
export interface LiveLoad {
  readonly seconds: number;
  readonly isWarmUp: boolean;
  /** No more requests are sent; the open ones end. */
  readonly isDraining: boolean;
  readonly sent: number;
  readonly inFlight: number;
  readonly completed: number;
  readonly failed: number;
  readonly outputTokens: number;
  /** Over the last second or so. */
  readonly outputTokensPerSecond: number;
  /** Absent until there is one. */
  readonly timeToFirstToken?: LiveQuantiles;
  readonly interToken?: LiveQuantiles;
  readonly endToEnd?: LiveQuantiles;
  /** The latest. */
  readonly server?: ServerSample;
}
