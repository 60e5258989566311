import { KvantError } from "@kvant/core";
import type { LoadLevel, LoadResult } from "../load/load-result.ts";
import { percentiles } from "../percentiles.ts";
import { RandomSource } from "../workload/random-source.ts";
import {
  type CountedShare,
  type Interval,
  ratioInterval,
  resampled,
  type Statistic,
  shareDifferenceInterval,
} from "./bootstrap.ts";
import { failedCount } from "./load-tables.ts";
import { measuredBins } from "./measured-bins.ts";

/**
 * Measures that a comparison knows, as `--metric` spells them. Latencies are those of requests that ended well: what failed is in
 * `failed`. `itl` has one value per request, the 99th percentile of its own pauses between tokens: a mean would be `tpot`.
 */
export const comparedMeasures = [
  "throughput",
  "ttft.p50",
  "ttft.p99",
  "tpot.p50",
  "tpot.p99",
  "itl.p50",
  "itl.p99",
  "e2e.p50",
  "e2e.p99",
  "failed",
  "good",
] as const;

export type ComparedMeasure = (typeof comparedMeasures)[number];

/**
 * `worse` and `better`: the whole interval lies beyond the threshold. `same`: all of it lies within. `unclear`: it reaches across;
 * a longer load would narrow it. `unknown`: too few values for an interval.
 */
export type Verdict = "worse" | "better" | "same" | "unclear" | "unknown";

export interface MeasureComparison {
  readonly measure: ComparedMeasure;
  readonly unit: "tokens per second" | "seconds" | "share";
  readonly before: number;
  readonly after: number;
  /** `after / before - 1`; of shares the difference `after - before`. */
  readonly change: number;
  /** The change's 95 % interval, null where there are too few values for one. */
  readonly interval: Interval | null;
  readonly verdict: Verdict;
}

export interface LevelComparison {
  readonly level: string;
  readonly measures: readonly MeasureComparison[];
}

export interface LoadComparison {
  readonly threshold: number;
  readonly seed: number;
  readonly levels: readonly LevelComparison[];
  /** Levels that only one of the results has. */
  readonly unmatched: readonly string[];
  /** What else differs between the two loads and may explain a change, a sentence each. */
  readonly differences: readonly string[];
  readonly isWorse: boolean;
  /** Measures, as they were asked for, of which no level has a verdict: all are `unknown` or have nothing of the kind. */
  readonly unanswered: readonly string[];
}

export interface CompareLoadsOptions {
  /** All unless given, and then none counts as asked for. A prefix names several: `ttft` is `ttft.p50` and `ttft.p99`. */
  readonly measures?: readonly string[];
  /** As a share: a change within it does not count. */
  readonly threshold: number;
  readonly seed: number;
}

/** Resamples of each series: the 2.5th percentile then has 250 values below it. */
const resampleCount = 10_000;

/** Values that must lie beyond a percentile on each side, or the resamples repeat the extremes over and over. */
const fewestBeyond = 5;

/** Fewer bins of the timeline say nothing about how throughput varies. */
const fewestBins = 10;

/**
 * Sets two loads side by side, level by level, in the order of the first. Intervals cover chance within the two runs; what
 * differs from run to run, such as a machine's temperature, they cannot know.
 * @throws KvantError INVALID_ARGUMENT for an unknown measure, or if no level has the same name in both
 */
export function compareLoads(before: LoadResult, after: LoadResult, options: CompareLoadsOptions): LoadComparison {
  const measures = chosenMeasures(options.measures);
  const names = (result: LoadResult): readonly string[] => result.levels.map(({ name }) => name);
  const common = before.levels.flatMap((level) => {
    const other = after.levels.find(({ name }) => name === level.name);
    return other === undefined ? [] : [{ before: level, after: other }];
  });
  if (common.length === 0) {
    const [left, right] = [before, after].map((result) => names(result).join("; "));
    throw new KvantError("INVALID_ARGUMENT", `no level has the same name in both: there are "${left}" and "${right}"`);
  }
  const levels = common.map((pair) => ({
    level: pair.before.name,
    measures: measures.flatMap((measure) => compared(measure, pair.before, pair.after, options) ?? []),
  }));
  const shared = new Set(common.map((pair) => pair.before.name));
  return {
    threshold: options.threshold,
    seed: options.seed,
    levels,
    unmatched: [...names(before), ...names(after)].filter((name) => !shared.has(name)),
    differences: differences(before, after),
    isWorse: levels.some((level) => level.measures.some(({ verdict }) => verdict === "worse")),
    unanswered: (options.measures ?? []).filter((name) => !levels.some((level) => answers(level, name))),
  };
}

function answers({ measures }: LevelComparison, name: string): boolean {
  const named = namedMeasures(name);
  return measures.some(({ measure, verdict }) => named.includes(measure) && verdict !== "unknown");
}

function namedMeasures(name: string): readonly ComparedMeasure[] {
  return comparedMeasures.filter((measure) => measure === name || measure.startsWith(`${name}.`));
}

function chosenMeasures(names: readonly string[] = comparedMeasures): readonly ComparedMeasure[] {
  const chosen = names.flatMap((name) => {
    const found = namedMeasures(name);
    if (found.length > 0) return found;
    const known = `${comparedMeasures.join(", ")}; ttft, tpot, itl and e2e name two each`;
    throw new KvantError("INVALID_ARGUMENT", `no measure is called "${name}"; there are ${known}`, { field: "metric" });
  });
  return comparedMeasures.filter((measure) => chosen.includes(measure));
}

/** Undefined where one of the levels has nothing of the kind. */
function compared(
  measure: ComparedMeasure,
  before: LoadLevel,
  after: LoadLevel,
  { threshold, seed }: CompareLoadsOptions,
): MeasureComparison | undefined {
  switch (measure) {
    case "throughput":
      return throughput([before, after], { threshold, seed });
    case "failed":
      // Any failure that chance does not explain is one too many, whatever the threshold; what it explains is none.
      return share({ measure, counted: [before, after].map(failed), threshold: 0, better: "low" });
    case "good":
      if (before.goodShare === undefined || after.goodShare === undefined) return undefined;
      return share({ measure, counted: [before, after].map(good), threshold, better: "high" });
    default:
      return latency(measure, [before, after], { threshold, seed });
  }
}

type LatencyMeasure = Exclude<ComparedMeasure, "throughput" | "failed" | "good">;

const samplesOf = {
  ttft: "timeToFirstToken",
  tpot: "timePerOutputToken",
  itl: "interTokenP99",
  e2e: "endToEnd",
} as const;

/** Of the bins that lie within the measured parts; of so few that they have no interval, over the measured parts as they are. */
function throughput(pair: readonly LoadLevel[], { threshold, seed }: CompareLoadsOptions): MeasureComparison {
  const bins = pair.map((level) => measuredBins(level, level.timeline.outputTokensPerSecond));
  const isEnough = bins.every(({ length }) => length >= fewestBins);
  const random = new RandomSource(seed, `${pair[0]!.name} throughput`);
  const interval = isEnough ? seriesInterval(bins, { kind: "mean" }, random) : null;
  const values = isEnough ? bins.map(mean) : pair.map(({ outputTokensPerSecond }) => outputTokensPerSecond);
  return relative({ measure: "throughput", unit: "tokens per second", values, interval, threshold, better: "high" });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function latency(
  measure: LatencyMeasure,
  pair: readonly LoadLevel[],
  { threshold, seed }: CompareLoadsOptions,
): MeasureComparison | undefined {
  const [name, quantile] = measure.split(".") as [keyof typeof samplesOf, "p50" | "p99"];
  const percent = quantile === "p50" ? 50 : 99;
  const samples = pair.map((level) => level.samples[samplesOf[name]] ?? []);
  if (samples.some(({ length }) => length === 0)) return undefined;
  const isEnough = samples.every(({ length }) => (length * (100 - percent)) / 100 >= fewestBeyond);
  const values = samples.map((series) => percentiles(series, [percent])[0]!);
  const random = new RandomSource(seed, `${pair[0]!.name} ${measure}`);
  const interval = isEnough ? seriesInterval(samples, { kind: "percentile", percent }, random) : null;
  return relative({ measure, unit: "seconds", values, interval, threshold, better: "low" });
}

/** Each level and measure has a stream of its own, so that choosing measures does not change the others. */
function seriesInterval(
  pair: readonly (readonly number[])[],
  statistic: Statistic,
  random: RandomSource,
): Interval | null {
  const [before, after] = pair.map((series) => resampled(series, [statistic], resampleCount, random)[0]!);
  return before!.every((value) => value > 0) ? ratioInterval(before!, after!) : null;
}

interface Judged {
  readonly measure: ComparedMeasure;
  readonly threshold: number;
  readonly better: "low" | "high";
}

function relative({
  measure,
  unit,
  values,
  ...judged
}: Judged & Pick<MeasureComparison, "unit" | "interval"> & { readonly values: readonly number[] }): MeasureComparison {
  const [before, after] = values as [number, number];
  const { interval } = judged;
  return { measure, unit, before, after, change: after / before - 1, interval, verdict: verdictOf(judged) };
}

function share({
  measure,
  counted,
  ...judged
}: Judged & { readonly counted: readonly CountedShare[] }): MeasureComparison | undefined {
  const [before, after] = counted as [CountedShare, CountedShare];
  if (before.of === 0 || after.of === 0) return undefined;
  const interval = shareDifferenceInterval(before, after);
  const [left, right] = [before.count / before.of, after.count / after.of];
  return {
    ...{ measure, unit: "share", before: left, after: right, change: right - left, interval },
    verdict: verdictOf({ ...judged, interval }),
  };
}

function failed(level: LoadLevel): CountedShare {
  return { count: failedCount(level), of: level.requests };
}

/** A sample of the requests is less sure than all of them. */
function good({ goodShare = 0, requests, goodShareOf = requests }: LoadLevel): CountedShare {
  return { count: Math.round(goodShare * goodShareOf), of: goodShareOf };
}

function verdictOf({
  interval,
  threshold,
  better,
}: Pick<Judged, "threshold" | "better"> & { readonly interval: Interval | null }): Verdict {
  if (interval === null) return "unknown";
  const { low, high } = interval;
  if (low > threshold) return better === "low" ? "worse" : "better";
  if (high < -threshold) return better === "low" ? "better" : "worse";
  return threshold === 0 || (low >= -threshold && high <= threshold) ? "same" : "unclear";
}

function differences(before: LoadResult, after: LoadResult): readonly string[] {
  const facts = (result: LoadResult): ReadonlyMap<string, string> =>
    new Map([
      ["workload", result.workload],
      ["seed", String(result.seed)],
      ["model", result.server.model],
      ["dialect", result.server.dialect],
      ["client's processor", `${result.machine.cpu}, ${result.machine.cores} cores`],
      ["accelerators", result.machine.accelerators.join(", ") || "none"],
      ["Node", result.software.node],
      ["server", result.server.software ?? "unknown"],
      ...Object.entries(result.server.scheme ?? {}),
    ]);
  const [left, right] = [facts(before), facts(after)];
  return [...new Set([...left.keys(), ...right.keys()])].flatMap((name) => {
    const [old, now] = [left.get(name) ?? "unknown", right.get(name) ?? "unknown"];
    return old === now ? [] : [`${name}: ${old}, then ${now}`];
  });
}
