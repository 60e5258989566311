import type { LoadRun } from "../../client/load-run.ts";
import { LatencyHistogram } from "../../load/latency-histogram.ts";
import type { RequestRecord } from "../../load/request-record.ts";

/** A histogram of a few values. */
export function histogramOf(...seconds: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const value of seconds) histogram.record(value);
  return histogram;
}

/** A request that was due at `dueAt`, whose first of 11 tokens came 0.5 s later and each further one after 0.1 s. */
export function sampleRecord(dueAt: number, changes: Partial<RequestRecord> = {}): RequestRecord {
  return {
    ...{ index: dueAt, dueAt, sentAt: dueAt, firstTokenAt: dueAt + 0.5, lastTokenAt: dueAt + 1.5, endedAt: dueAt + 2 },
    ...{ promptTokens: 100, outputTokens: 11, countedBy: "usage", gaps: new Float32Array(10).fill(0.1) },
    ...changes,
  };
}

/** Ten seconds of which the first two warm up; 4 requests of 44 tokens in all, one of them cut off. */
export function sampleLoadRun(changes: Partial<LoadRun> = {}): LoadRun {
  const records = [
    sampleRecord(5),
    sampleRecord(3, { firstTokenAt: 4, lastTokenAt: 5, endedAt: 5.5 }),
    sampleRecord(7),
    sampleRecord(2, { failure: { kind: "cut-off", message: "the stream ended after 11 chunks" } }),
  ];
  return {
    ...{ startedAt: "2026-03-01T12:00:00.000Z", startNanoseconds: 0n },
    ...{ measuredFrom: 2, measuredUntil: 10, endedAt: 10.5, isInterrupted: false, records, recordsAreSampled: false },
    histograms: {
      timeToFirstToken: histogramOf(0.5, 0.5, 1),
      interToken: histogramOf(...new Array<number>(30).fill(0.1)),
      timePerOutputToken: histogramOf(0.1, 0.1, 0.1),
      endToEnd: histogramOf(2, 2, 2.5),
      sendDelay: histogramOf(0, 0, 0, 0),
      serverQueue: histogramOf(),
    },
    totals: {
      ...{ requests: 4, completed: 3, failures: { "cut-off": 1 } },
      failureExamples: { "cut-off": "the stream ended after 11 chunks" },
      ...{ promptTokens: 400, cachedTokens: 0, outputTokens: 44, countedBy: { usage: 4 } },
    },
    ...{ tokensArrived: 40, requestsCompleted: 3, promptTokensRead: 360 },
    bins: {
      binSeconds: 0.5,
      outputTokens: Array.from({ length: 21 }, (_, bin) => bin),
      requestsStarted: new Array<number>(21).fill(1),
      requestsEnded: new Array<number>(21).fill(1),
      failures: new Array<number>(21).fill(0),
      inFlight: new Array<number>(21).fill(2),
    },
    serverSamples: [],
    client: { workers: 1, busyShare: 0.1, busySeconds: 1, loopDelayP99Seconds: 0.001 },
    warnings: [],
    ...changes,
  };
}
