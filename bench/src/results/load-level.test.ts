import { expect, test } from "vitest";
import { loadLevel } from "./load-level.ts";
import { measuredBins } from "./measured-bins.ts";
import { histogramOf, sampleLoadRun, sampleRecord } from "./testing/sample-load-run.ts";

test("rates are over the measured part, the warm-up is told beside it", () => {
  expect(loadLevel(sampleLoadRun(), { name: "4 streams", concurrency: 4 })).toMatchObject({
    ...{ name: "4 streams", concurrency: 4, seconds: 8, warmUpSeconds: 2, requests: 4, completed: 3 },
    ...{ failures: { "cut-off": 1 }, failureExamples: { "cut-off": "the stream ended after 11 chunks" } },
    ...{ promptTokens: 400, outputTokens: 44, countedBy: { usage: 4 } },
    ...{ outputTokensPerSecond: 5, totalTokensPerSecond: 50, requestsCompletedPerSecond: 0.375 },
  });
});

test("what was not asked for or never came is absent", () => {
  const level = loadLevel(sampleLoadRun({ measuredFrom: 0 }), { name: "trace" });
  for (const name of ["concurrency", "requestsPerSecond", "warmUpSeconds", "goodShare", "serverQueue"]) {
    expect(level).not.toHaveProperty(name);
  }
  expect(level.timeToFirstToken).toMatchObject({ count: 3, max: expect.closeTo(1, 2) });
});

test("goodput counts the requests that ended well and within every objective", () => {
  const level = loadLevel(sampleLoadRun(), { name: "x", objectives: { ttft: 0.6, e2e: 3 } });
  expect(level).toMatchObject({ goodShare: 0.5, goodRequestsPerSecond: 0.25 });
  const strict = loadLevel(sampleLoadRun(), { name: "x", objectives: { itl: 0.05 } });
  expect(strict).toMatchObject({ goodShare: 0, goodRequestsPerSecond: 0 });
});

test("where records were sampled, their share of good ones stands for all requests", () => {
  const { totals } = sampleLoadRun();
  const run = sampleLoadRun({ recordsAreSampled: true, totals: { ...totals, requests: 4000 } });
  expect(loadLevel(run, { name: "x", objectives: { ttft: 0.6 } })).toMatchObject({
    goodRequestsPerSecond: 250,
    goodShareOf: 4,
  });
});

test("samples are the requests that ended well, in the order in which they were due", () => {
  expect(loadLevel(sampleLoadRun(), { name: "x" }).samples).toEqual({
    timeToFirstToken: [1, 0.5, 0.5],
    timePerOutputToken: [0.1, 0.1, 0.1],
    interTokenP99: [0.1, 0.1, 0.1],
    endToEnd: [2.5, 2, 2],
    outputTokens: [11, 11, 11],
  });
});

test("of many samples evenly spaced ones are kept, and one token alone has no time per token", () => {
  const records = Array.from({ length: 100 }, (_, i) =>
    sampleRecord(i, i % 2 === 0 ? {} : { outputTokens: 1, lastTokenAt: i + 0.5, endedAt: i + 1 + i / 100 }),
  );
  const { samples } = loadLevel(sampleLoadRun({ records }), { name: "x", sampleLimit: 4 });
  expect(samples.endToEnd).toEqual([2, 1.25, 2, 1.75]);
  expect(samples.outputTokens).toEqual([11, 1, 11, 1]);
  expect(samples.timePerOutputToken).toEqual([0.1, 0.1]);
});

test("a load that ended at once has no rates and no latencies", () => {
  const none = { timeToFirstToken: histogramOf(), interToken: histogramOf(), timePerOutputToken: histogramOf() };
  const run = sampleLoadRun({
    ...{ measuredFrom: 0, measuredUntil: 0, records: [], tokensArrived: 0, requestsCompleted: 0, promptTokensRead: 0 },
    histograms: { ...none, endToEnd: histogramOf(), sendDelay: histogramOf(), serverQueue: histogramOf() },
  });
  const level = loadLevel(run, { name: "x", objectives: { ttft: 1 } });
  expect(level).toMatchObject({ seconds: 0, outputTokensPerSecond: 0, goodShare: 0, goodRequestsPerSecond: 0 });
  expect(level).not.toHaveProperty("endToEnd");
});

test("bins of the measured part leave out the warm-up and a last part of a bin", () => {
  const level = loadLevel(sampleLoadRun(), { name: "x" });
  expect(measuredBins(level, level.timeline.outputTokensPerSecond)).toEqual(
    Array.from({ length: 16 }, (_, i) => 2 * (4 + i)),
  );
  expect(measuredBins({ ...level, warmUpSeconds: 1.9, seconds: 0.9 }, [0, 1, 2, 3, 4, 5, 6])).toEqual([4]);
});
