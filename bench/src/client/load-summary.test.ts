import { describe, expect, test } from "vitest";
import type { RequestRecord } from "../load/request-record.ts";
import { type EndOfLoad, LoadSummary, type LoadSummaryOptions } from "./load-summary.ts";
import { forEachChunk } from "./record-chunks.ts";
import { RecordSample } from "./record-sample.ts";

/** Due at `dueAt`, first token 1 s later, a token every `gap` seconds, ended with the last. */
function record(
  index: number,
  dueAt: number,
  gaps: readonly number[],
  more: Partial<RequestRecord> = {},
): RequestRecord {
  const firstTokenAt = dueAt + 1;
  const lastTokenAt = gaps.reduce((sum, gap) => sum + gap, firstTokenAt);
  return {
    index,
    dueAt,
    sentAt: dueAt + 0.25,
    firstTokenAt,
    lastTokenAt,
    endedAt: lastTokenAt,
    outputTokens: gaps.length + 1,
    countedBy: "usage",
    gaps: Float32Array.from(gaps),
    ...more,
  };
}

function summary(records: readonly RequestRecord[], options: Partial<LoadSummaryOptions> = {}, end: EndOfLoad = {}) {
  const load = new LoadSummary({
    warmUp: { seconds: 0 },
    until: Number.POSITIVE_INFINITY,
    recordLimit: 1000,
    ...options,
  });
  for (const each of records) load.add(each);
  return load.finish(end);
}

function chunks(each: RequestRecord): (readonly [number, number])[] {
  const found: [number, number][] = [];
  forEachChunk(each, (at, tokens) => found.push([at, tokens]));
  return found;
}

describe("the chunks of a record", () => {
  test("have a token each where there are as many", () => {
    expect(chunks(record(0, 0, [0.5, 0.25]))).toEqual([
      [1, 1],
      [1.5, 1],
      [1.75, 1],
    ]);
  });

  test("share the answer's tokens evenly where only their sum is told", () => {
    expect(chunks(record(0, 0, [1, 1, 1], { outputTokens: 10 })).map(([, tokens]) => tokens)).toEqual([2, 3, 2, 3]);
  });

  test("have their own where they tell, the first what is left", () => {
    const gapTokens = Uint16Array.from([3, 1, 2]);
    const told = record(0, 0, [1, 1, 1], { outputTokens: 7, gapTokens });
    expect(chunks(told).map(([, tokens]) => tokens)).toEqual([1, 3, 1, 2]);
  });

  test("are none without a first token", () => {
    const { firstTokenAt, lastTokenAt, ...without } = record(0, 0, []);
    expect(firstTokenAt).toBe(lastTokenAt);
    expect(chunks(without)).toEqual([]);
  });
});

describe("latencies", () => {
  test("count from when a request was due, not from when it was sent", () => {
    const { histograms } = summary([record(0, 2, [0.5, 0.5])]);
    expect(histograms.timeToFirstToken.quantile(1)).toBeCloseTo(1, 2);
    expect(histograms.endToEnd.quantile(1)).toBeCloseTo(2, 2);
    expect(histograms.sendDelay.quantile(1)).toBeCloseTo(0.25, 3);
    expect(histograms.timePerOutputToken.quantile(1)).toBeCloseTo(0.5, 3);
  });

  test("between tokens: a chunk of k tokens counts k times with a k-th of its gap", () => {
    const gapTokens = Uint16Array.from([4, 1]);
    const { histograms } = summary([record(0, 0, [0.4, 0.3], { outputTokens: 6, gapTokens })]);
    expect(histograms.interToken.count).toBe(5);
    expect(histograms.interToken.quantile(0.8)).toBeCloseTo(0.1, 3);
    expect(histograms.interToken.quantile(1)).toBeCloseTo(0.3, 3);
  });

  test("of a failed request are those of what came", () => {
    const failure = { kind: "cut-off", message: "gone" } as const;
    const { histograms, totals } = summary([record(0, 0, [0.1], { failure }), record(1, 0, [0.1])]);
    expect(histograms.timeToFirstToken.count).toBe(2);
    expect(histograms.interToken.count).toBe(2);
    expect(histograms.endToEnd.count).toBe(1);
    expect(totals).toMatchObject({ requests: 2, completed: 1, outputTokens: 4, failures: { "cut-off": 1 } });
    expect(totals.failureExamples).toEqual({ "cut-off": "gone" });
  });
});

test("cached tokens are summed over the answers that tell, and absent where none does", () => {
  expect(summary([record(0, 0, [1])]).totals).not.toHaveProperty("cachedTokens");
  const told = [record(0, 0, [1], { cachedTokens: 0 }), record(1, 0, [1], { cachedTokens: 16 }), record(2, 0, [1])];
  expect(summary(told).totals.cachedTokens).toBe(16);
  expect(summary(told.slice(0, 1)).totals.cachedTokens).toBe(0);
});

describe("the measured part", () => {
  test("begins when the warm-up has ended, and takes the tokens of older requests that come in it", () => {
    // Tokens at 1, 2, 3, 4, 5; then at 5, 6.
    const records = [record(0, 0, [1, 1, 1, 1], { promptTokens: 3 }), record(1, 4, [1], { promptTokens: 5 })];
    const run = summary(records, { warmUp: { seconds: 2.5 }, until: 5.5 });
    expect(run).toMatchObject({
      measuredFrom: 2.5,
      measuredUntil: 5.5,
      endedAt: 6,
      tokensArrived: 4,
      requestsCompleted: 1,
    });
    expect(run.promptTokensRead).toBe(5);
    expect(run.totals).toMatchObject({ requests: 1, outputTokens: 2 });
    expect(run.records.map(({ index }) => index)).toEqual([1]);
  });

  test("of a quiet load lasts as long as was asked, and not to its last answer", () => {
    // Answered at 4 and at 19 of 60 s.
    const records = [record(0, 2, [1]), record(1, 17, [1])];
    const run = summary(records, { until: 60 });
    expect(run).toMatchObject({ measuredFrom: 0, measuredUntil: 60, endedAt: 19, requestsCompleted: 2 });
    expect(run.bins.outputTokens).toHaveLength(60 / run.bins.binSeconds);
    expect(summary([], { until: 60, warmUp: { seconds: 5 } })).toMatchObject({ measuredFrom: 5, measuredUntil: 60 });
  });

  test("ends with what ended the load before its time", () => {
    const records = [record(0, 2, [1]), record(1, 17, [1])];
    expect(summary(records, { until: 60 }, { isCutShort: true }).measuredUntil).toBe(19);
    expect(summary(records, { until: 60 }, { isCutShort: true, endedAt: 30 }).measuredUntil).toBe(30);
    expect(summary(records, { until: 18 }, { isCutShort: true, endedAt: 30 }).measuredUntil).toBe(18);
  });

  test("after a warm-up of requests begins with the first that is measured", () => {
    const records = [record(0, 0, [1]), record(1, 0.5, [1]), record(2, 3, [1])];
    const run = summary(records, { warmUp: { requests: 1 } });
    expect(run).toMatchObject({ measuredFrom: 0.5, measuredUntil: 5, tokensArrived: 4 });
  });
});

describe("bins", () => {
  test("count tokens when they came and requests when they were open", () => {
    const { bins } = summary([record(0, 0, [0.5, 0.5]), record(1, 1, [])]);
    expect(bins.binSeconds).toBe(0.25);
    // Sent at 0.25 and 1.25, ended at 2 both.
    expect(bins.requestsStarted).toEqual([0, 1, 0, 0, 0, 1, 0, 0, 0]);
    expect(bins.requestsEnded).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 2]);
    expect(bins.inFlight).toEqual([0, 1, 1, 1, 1, 2, 2, 2, 0]);
    expect(bins.outputTokens).toEqual([0, 0, 0, 0, 1, 0, 1, 0, 2]);
  });

  test("of a long load grow wide, and lose nothing", () => {
    const { bins } = summary(Array.from({ length: 500 }, (_, i) => record(i, i * 7, [1, 1])));
    expect(bins.outputTokens.length).toBeLessThanOrEqual(1200);
    expect(bins.binSeconds).toBe(4);
    expect(bins.outputTokens.reduce((sum, count) => sum + count, 0)).toBe(1500);
    expect(bins.requestsEnded.reduce((sum, count) => sum + count, 0)).toBe(500);
    expect(bins.inFlight.at(-1)).toBe(0);
  });
});

describe("the sample of records", () => {
  test("is all of them up to the limit, and an even part of them beyond it", () => {
    const sample = new RecordSample({ records: 1000, gaps: 1e6 });
    for (let i = 0; i < 1000; i++) sample.add(record(i, 0, []));
    expect(sample.isWhole).toBe(true);
    expect(sample.records).toHaveLength(1000);
    for (let i = 1000; i < 20_000; i++) sample.add(record(i, 0, []));
    expect(sample.isWhole).toBe(false);
    expect(sample.records.length).toBeLessThanOrEqual(1000);
    expect(sample.records.length).toBeGreaterThan(400);
    const early = sample.records.filter(({ index }) => index < 10_000).length / sample.records.length;
    expect(early).toBeGreaterThan(0.42);
    expect(early).toBeLessThan(0.58);
  });

  test("is bounded by its gaps too", () => {
    const sample = new RecordSample({ records: 1000, gaps: 100 });
    for (let i = 0; i < 50; i++) sample.add(record(i, 0, new Array<number>(10).fill(1)));
    expect(sample.records.reduce((sum, { gaps }) => sum + gaps.length, 0)).toBeLessThanOrEqual(100);
    expect(sample.records.length).toBeGreaterThan(0);
  });
});
