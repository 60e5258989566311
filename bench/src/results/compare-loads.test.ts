import { describe, expect, test } from "vitest";
import { type CompareLoadsOptions, compareLoads, type LoadComparison, type Verdict } from "./compare-loads.ts";
import { comparisonMarkdown, comparisonNotes, comparisonTable } from "./comparison-table.ts";
import { sampleLoadResult } from "./testing/sample-load-result.ts";

const options: CompareLoadsOptions = { threshold: 0.05, seed: 1 };
const before = sampleLoadResult({ streams: [4, 16] });

/** Of the first level, by measure. */
function verdicts({ levels }: LoadComparison): Readonly<Record<string, Verdict>> {
  return Object.fromEntries(levels[0]!.measures.map(({ measure, verdict }) => [measure, verdict]));
}

describe("what a comparison concludes", () => {
  test("a load is the same as itself", () => {
    const comparison = compareLoads(before, before, options);
    expect(comparison.isWorse).toBe(false);
    expect(Object.values(verdicts(comparison))).not.toContain("worse");
    expect(verdicts(comparison)).toMatchObject({ throughput: "same", "tpot.p50": "same", "e2e.p50": "same" });
    for (const { measures } of comparison.levels) for (const { change } of measures) expect(change).toBe(0);
  });

  test("another run of the same server is not worse", () => {
    expect(compareLoads(before, sampleLoadResult({ streams: [4], seed: 2 }), options).isWorse).toBe(false);
  });

  test("a server that takes 20 % longer is worse in throughput and latencies, and the faster one better", () => {
    const slower = sampleLoadResult({ streams: [4], seed: 2, slowness: 1.2 });
    const worse = compareLoads(before, slower, options);
    expect(worse.isWorse).toBe(true);
    expect(verdicts(worse)).toMatchObject({ throughput: "worse", "tpot.p50": "worse", "e2e.p50": "worse" });
    const better = compareLoads(slower, before, options);
    expect(better.isWorse).toBe(false);
    expect(verdicts(better)).toMatchObject({ throughput: "better", "tpot.p50": "better", "e2e.p50": "better" });
  });

  test("intervals hold the true change", () => {
    const slower = sampleLoadResult({ streams: [4], seed: 5, slowness: 1.2 });
    for (const { measure, interval } of compareLoads(before, slower, options).levels[0]!.measures) {
      if (!/^(tpot|e2e)/.test(measure) || interval === null) continue;
      expect(interval.low, measure).toBeLessThan(0.2);
      expect(interval.high, measure).toBeGreaterThan(0.2);
    }
  });

  test("a change within the threshold does not count", () => {
    const slower = sampleLoadResult({ streams: [4], seed: 2, slowness: 1.2 });
    expect(compareLoads(before, slower, { ...options, threshold: 0.5 }).isWorse).toBe(false);
  });
});

describe("what a comparison is careful about", () => {
  test("of few requests a 99th percentile has no interval, and no verdict", () => {
    const few = sampleLoadResult({ streams: [4], requests: 100 });
    const comparison = compareLoads(few, sampleLoadResult({ streams: [4], requests: 100, slowness: 2 }), options);
    expect(verdicts(comparison)).toMatchObject({ "ttft.p50": "worse", "ttft.p99": "unknown" });
  });

  test("failures that chance does not explain are worse, whatever the threshold", () => {
    const [level] = sampleLoadResult({ streams: [4] }).levels;
    const withFailures = (count: number) => ({ ...before, levels: [{ ...level!, failures: { status: count } }] });
    const failed = (count: number): Verdict | undefined =>
      verdicts(compareLoads(before, withFailures(count), { ...options, threshold: 0.5 })).failed;
    expect([failed(1), failed(12)]).toEqual(["same", "worse"]);
  });

  test("the same seed gives the same intervals, whichever measures are asked for", () => {
    const after = sampleLoadResult({ streams: [4], seed: 3 });
    const all = compareLoads(before, after, options).levels[0]!.measures;
    const one = compareLoads(before, after, { ...options, measures: ["ttft"] }).levels[0]!.measures;
    expect(one.map(({ measure }) => measure)).toEqual(["ttft.p50", "ttft.p99"]);
    expect(one).toEqual(all.filter(({ measure }) => measure.startsWith("ttft")));
    expect(compareLoads(before, after, { ...options, seed: 2 }).levels[0]!.measures).not.toEqual(all);
  });

  test("levels of one result alone, and what else differs, are told", () => {
    const after = { ...sampleLoadResult({ streams: [4, 64] }), workload: "other prompts" };
    const comparison = compareLoads(before, after, options);
    expect(comparison.unmatched).toEqual(["16 streams", "64 streams"]);
    expect(comparison.differences).toEqual([`workload: ${before.workload}, then other prompts`]);
    expect(comparisonNotes(comparison)).toEqual([
      "Nothing is worse by more than 5 % with 95 % confidence.",
      "Unclear, for a longer load to tell: ttft.p50 at 4 streams, ttft.p99 at 4 streams.",
      "Only in one of the results, not compared: 16 streams, 64 streams.",
      `The runs differ in more than time. workload: ${before.workload}, then other prompts.`,
    ]);
  });

  test("a measure that was asked for and has no verdict at any level is told, however it was spelled", () => {
    const few = sampleLoadResult({ streams: [4], requests: 100 });
    const unanswered = (...measures: readonly string[]) => compareLoads(few, few, { ...options, measures }).unanswered;
    expect(unanswered("ttft.p99")).toEqual(["ttft.p99"]);
    expect(unanswered("ttft", "e2e.p99", "failed")).toEqual(["e2e.p99"]);
    expect(compareLoads(few, few, options).unanswered).toEqual([]);
    const notes = comparisonNotes(compareLoads(few, few, { ...options, measures: ["tpot.p99"] }));
    expect(notes.slice(1)).toEqual([
      "Unknown, of too few values: tpot.p99 at 4 streams.",
      "Asked for, and without a verdict at any level: tpot.p99.",
    ]);
    const [level] = few.levels;
    const { goodShare: _, ...withoutObjectives } = level!;
    const plain = { ...few, levels: [withoutObjectives] };
    expect(compareLoads(plain, plain, { ...options, measures: ["good"] }).unanswered).toEqual(["good"]);
  });

  test("pauses within requests are compared, and not where an older file has none", () => {
    const slower = sampleLoadResult({ streams: [4], seed: 2, slowness: 1.2 });
    const measures = ["itl"];
    expect(verdicts(compareLoads(before, slower, { ...options, measures }))).toEqual({
      "itl.p50": "worse",
      "itl.p99": "worse",
    });
    const [level] = slower.levels;
    const { interTokenP99: _, ...samples } = level!.samples;
    const older = { ...slower, levels: [{ ...level!, samples }] };
    expect(compareLoads(before, older, { ...options, measures }).unanswered).toEqual(["itl"]);
  });

  test("throughput is the mean of the bins that its interval is of, without warm-up and a last part of a bin", () => {
    const withBins = (bins: readonly number[], warmUpSeconds: number) => {
      const [level] = before.levels;
      const timeline = { ...level!.timeline, outputTokensPerSecond: bins };
      return { ...before, levels: [{ ...level!, timeline, warmUpSeconds, seconds: 10.2 }] };
    };
    const steady = (rate: number) => withBins([0, 0, ...new Array<number>(20).fill(rate), 7], 1);
    const { levels } = compareLoads(steady(100), steady(110), { ...options, measures: ["throughput"] });
    const [throughput] = levels[0]!.measures;
    expect(throughput).toMatchObject({ before: 100, after: 110, verdict: "better" });
    expect(throughput!.interval!.low).toBeCloseTo(throughput!.change, 12);
    expect(throughput!.interval!.high).toBeCloseTo(throughput!.change, 12);
  });

  test("a share of good requests among a sample is less sure than among all", () => {
    const [level] = before.levels;
    const good = (goodShare: number, goodShareOf: number) => ({
      ...before,
      levels: [{ ...level!, requests: 100_000, goodShare, goodShareOf }],
    });
    const measures = ["good"];
    const verdictAmong = (count: number) =>
      verdicts(compareLoads(good(0.9, count), good(0.8, count), { ...options, measures })).good;
    expect([verdictAmong(100_000), verdictAmong(100)]).toEqual(["worse", "unclear"]);
  });

  test("results without a level in common, and unknown measures, are refused", () => {
    const other = sampleLoadResult({ streams: [64] });
    expect(() => compareLoads(before, other, options)).toThrow(
      'no level has the same name in both: there are "4 streams; 16 streams" and "64 streams"',
    );
    expect(() => compareLoads(before, before, { ...options, measures: ["speed"] })).toThrow(
      'no measure is called "speed"; there are throughput, ttft.p50',
    );
  });
});

test("a comparison as a table has a row per level and measure", () => {
  const after = sampleLoadResult({ streams: [4], seed: 2, slowness: 1.2 });
  const comparison = compareLoads(before, after, { ...options, measures: ["throughput", "tpot.p50", "failed"] });
  const { rows } = comparisonTable(comparison);
  expect(rows.map(([level, measure]) => [level, measure])).toEqual([
    ["4 streams", "throughput"],
    ["4 streams", "tpot.p50"],
    ["4 streams", "failed"],
  ]);
  const [throughput, tpot, failed] = rows as readonly string[][];
  expect(throughput![2]).toMatch(/^[\d.]+ tok\/s$/);
  expect(throughput![4]).toMatch(/^-1\d\.\d %$/);
  expect(tpot![5]).toMatch(/^\+1\d\.\d % to \+2\d\.\d %$/);
  expect(tpot![6]).toBe("worse");
  expect(failed!.slice(2, 5)).toEqual(["0 %", "0 %", "+0.00 points"]);
  expect(comparisonNotes(comparison)[0]).toBe(
    "Worse by more than 5 % with 95 % confidence: throughput at 4 streams, tpot.p50 at 4 streams.",
  );
  const markdown = comparisonMarkdown(comparison, "A.json", "B.json");
  expect(markdown).toMatch(/^# A\.json and B\.json\n\n\| load +\| measure +\|/);
  expect(markdown.trimEnd().split("\n").slice(2, 7)).toHaveLength(5);
});
