import { LatencyHistogram } from "../load/latency-histogram.ts";
import type { FailureKind, RequestRecord, TokenCounter } from "../load/request-record.ts";
import { LoadBinsCounter } from "./load-bins-counter.ts";
import type { LoadHistograms, LoadRun, LoadTotals } from "./load-run.ts";
import { forEachChunk } from "./record-chunks.ts";
import { RecordSample } from "./record-sample.ts";

export interface LoadSummaryOptions {
  /** What is not measured: requests due before, or the first so many. */
  readonly warmUp: { readonly seconds: number } | { readonly requests: number };
  /** The end of the measured part; Infinity where the last request ends it. */
  readonly until: number;
  readonly recordLimit: number;
}

export interface EndOfLoad {
  /** When the load had ended, where that was after its last request. */
  readonly endedAt?: number;
  /** Something else than time ended it: an interruption, or requests that ran out. */
  readonly isCutShort?: boolean;
}

/** What the records of a load come to. */
export type SummarizedLoad = Pick<
  LoadRun,
  | "measuredFrom"
  | "measuredUntil"
  | "endedAt"
  | "records"
  | "recordsAreSampled"
  | "histograms"
  | "totals"
  | "tokensArrived"
  | "requestsCompleted"
  | "promptTokensRead"
  | "bins"
>;

/** Of all kept records together: 80 MB. */
const gapLimit = 20e6;

/** Takes a load's records as they come, in any order, and keeps what a report needs in bounded memory. */
export class LoadSummary {
  readonly #options: LoadSummaryOptions;
  readonly #sample: RecordSample;
  readonly #bins = new LoadBinsCounter();
  readonly #histograms: LoadHistograms = {
    timeToFirstToken: new LatencyHistogram(),
    interToken: new LatencyHistogram(),
    timePerOutputToken: new LatencyHistogram(),
    endToEnd: new LatencyHistogram(),
    sendDelay: new LatencyHistogram(),
    serverQueue: new LatencyHistogram(),
  };
  readonly #failures: { [kind in FailureKind]?: number } = {};
  readonly #failureExamples: { [kind in FailureKind]?: string } = {};
  readonly #countedBy: { [counter in TokenCounter]?: number } = {};
  #requests = 0;
  #completed = 0;
  #promptTokens = 0;
  #cachedTokens: number | undefined;
  #outputTokens = 0;
  #tokensArrived = 0;
  #requestsCompleted = 0;
  #promptTokensRead = 0;
  #firstMeasuredDue = Number.POSITIVE_INFINITY;
  #endedAt = 0;

  constructor(options: LoadSummaryOptions) {
    this.#options = options;
    this.#sample = new RecordSample({ records: options.recordLimit, gaps: gapLimit });
  }

  add(record: RequestRecord): void {
    this.#endedAt = Math.max(this.#endedAt, record.endedAt);
    this.#bins.add(record);
    const isMeasured = this.#isMeasured(record);
    this.#countArrivals(record, isMeasured);
    if (!isMeasured) return;
    this.#firstMeasuredDue = Math.min(this.#firstMeasuredDue, record.dueAt);
    this.#sample.add(record);
    this.#count(record);
    this.#time(record);
  }

  /**
   * A load that time bounds is measured up to that time, though its last answer came before: in a quiet open loop the wait
   * for a request that is not due any more belongs to the rate as the waits between requests do.
   */
  finish({ endedAt = 0, isCutShort = false }: EndOfLoad = {}): SummarizedLoad {
    const end = Math.max(endedAt, this.#endedAt);
    const { warmUp, until } = this.#options;
    const measuredUntil = isCutShort || !Number.isFinite(until) ? Math.min(until, end) : until;
    const firstDue = Number.isFinite(this.#firstMeasuredDue) ? this.#firstMeasuredDue : end;
    const measuredFrom = "seconds" in warmUp ? warmUp.seconds : warmUp.requests === 0 ? 0 : firstDue;
    return {
      measuredFrom: Math.min(measuredFrom, measuredUntil),
      measuredUntil,
      endedAt: end,
      records: this.#sample.records,
      recordsAreSampled: !this.#sample.isWhole,
      histograms: this.#histograms,
      totals: this.#totals(),
      tokensArrived: this.#tokensArrived,
      requestsCompleted: this.#requestsCompleted,
      promptTokensRead: this.#promptTokensRead,
      bins: this.#bins.bins(Math.max(end, measuredUntil)),
    };
  }

  #isMeasured({ index, dueAt }: RequestRecord): boolean {
    const { warmUp } = this.#options;
    return "seconds" in warmUp ? dueAt >= warmUp.seconds : index >= warmUp.requests;
  }

  /** By time, where the measured part has a beginning in time; else by request. */
  #countArrivals(record: RequestRecord, isMeasured: boolean): void {
    const { warmUp, until } = this.#options;
    const from = "seconds" in warmUp ? warmUp.seconds : isMeasured ? 0 : Number.POSITIVE_INFINITY;
    const isWithin = (at: number | undefined): boolean => at !== undefined && at >= from && at < until;
    forEachChunk(record, (at, tokens) => {
      if (isWithin(at)) this.#tokensArrived += tokens;
    });
    if (isWithin(record.firstTokenAt)) this.#promptTokensRead += record.promptTokens ?? 0;
    if (record.failure === undefined && isWithin(record.endedAt)) this.#requestsCompleted++;
  }

  #count(record: RequestRecord): void {
    this.#requests++;
    this.#promptTokens += record.promptTokens ?? 0;
    if (record.cachedTokens !== undefined) this.#cachedTokens = (this.#cachedTokens ?? 0) + record.cachedTokens;
    this.#outputTokens += record.outputTokens;
    if (record.outputTokens > 0) this.#countedBy[record.countedBy] = (this.#countedBy[record.countedBy] ?? 0) + 1;
    const { failure } = record;
    if (failure === undefined) {
      this.#completed++;
      return;
    }
    this.#failures[failure.kind] = (this.#failures[failure.kind] ?? 0) + 1;
    this.#failureExamples[failure.kind] ??= failure.message;
  }

  #time(record: RequestRecord): void {
    const { dueAt, sentAt, firstTokenAt, lastTokenAt, endedAt, outputTokens, queueSeconds } = record;
    const histograms = this.#histograms;
    histograms.sendDelay.record(Math.max(0, sentAt - dueAt));
    if (queueSeconds !== undefined) histograms.serverQueue.record(queueSeconds);
    if (firstTokenAt !== undefined) histograms.timeToFirstToken.record(firstTokenAt - dueAt);
    forEachChunk(record, (_, tokens, gap) => {
      // More chunks than tokens, as where one token's text came in two: each is a wait for something to read.
      const count = Math.max(1, tokens);
      if (gap !== undefined) histograms.interToken.record(gap / count, count);
    });
    if (record.failure !== undefined) return;
    histograms.endToEnd.record(endedAt - dueAt);
    if (outputTokens > 1 && firstTokenAt !== undefined && lastTokenAt !== undefined) {
      histograms.timePerOutputToken.record((lastTokenAt - firstTokenAt) / (outputTokens - 1));
    }
  }

  #totals(): LoadTotals {
    return {
      requests: this.#requests,
      completed: this.#completed,
      failures: this.#failures,
      failureExamples: this.#failureExamples,
      promptTokens: this.#promptTokens,
      ...(this.#cachedTokens === undefined ? {} : { cachedTokens: this.#cachedTokens }),
      outputTokens: this.#outputTokens,
      countedBy: this.#countedBy,
    };
  }
}
