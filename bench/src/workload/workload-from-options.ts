import type { Workload } from "../load/planned-request.ts";
import {
  type ArrivalPattern,
  type ArrivalRate,
  arrivalTimes,
  describeArrivals,
  parseArrivalPattern,
} from "./arrivals.ts";
import { checkOptions } from "./check-options.ts";
import { datasetFromOptions, lengthLimits } from "./dataset-from-options.ts";
import { describeDistribution } from "./distribution.ts";
import { invalidOption } from "./invalid-option.ts";
import { parseCounts, parseSeconds } from "./parse-distribution.ts";
import { planWorkload, type WorkloadPlan } from "./plan-workload.ts";
import { promptAlphabet } from "./prompt-alphabet.ts";
import { RandomSource } from "./random-source.ts";
import type { Trace } from "./traces/trace.ts";
import { traceDataset } from "./traces/trace-dataset.ts";
import type { WorkloadOptions } from "./workload-options.ts";

/** Whether requests have due times, and from where. */
type Timing =
  | { readonly kind: "closed" }
  | { readonly kind: "trace" }
  | { readonly kind: "process"; readonly pattern: ArrivalPattern; readonly rate: ArrivalRate };

/**
 * The load that options describe. Files are opened and checked here, so that no load fails in its middle; their entries are
 * read again when requests are drawn.
 * @throws KvantError INVALID_ARGUMENT, its `field` the option at fault: values out of range, options that contradict each other
 * or would have no effect, files that cannot be read (with line and value)
 */
export function workloadFromOptions(options: WorkloadOptions): Workload {
  checkOptions(options);
  const { dataset: name = "random", ignoreEos, requests, durationSeconds, seed = 0 } = options;
  const timing = timingOf(options);
  if (requests === undefined && durationSeconds === undefined && name !== "trace") {
    throw invalidOption("requests", "a load has an end: give requests, durationSeconds or both");
  }
  const thinkSeconds = parseSeconds(options.thinkSeconds ?? "0", "thinkSeconds");
  const common = { thinkSeconds, seed, ...(ignoreEos === undefined ? {} : { isFixedLength: ignoreEos }) };
  if (name === "trace") return planWorkload({ ...common, ...tracePlan(options, timing) });
  if (timing.kind === "trace") throw invalidOption("arrival", `the dataset ${name} has no times to replay`);
  const dataset = datasetFromOptions(name, options);
  const pauses = name === "conversation" ? `, ${describeDistribution(thinkSeconds)} s between turns` : "";
  return planWorkload({
    ...common,
    ...arrivalPlan(options, timing),
    ...bounds(requests, durationSeconds),
    dataset: { ...dataset, description: `${dataset.description}${pauses}` },
    size: sizeOf(timing, requests, durationSeconds),
  });
}

function timingOf(options: WorkloadOptions): Timing {
  const { dataset, rate, rampFrom, arrival } = options;
  const hasRate = rate !== undefined || rampFrom !== undefined;
  const kind = arrival ?? (hasRate ? "poisson" : dataset === "trace" ? "trace" : "closed");
  if (kind === "closed" || kind === "trace") {
    if (hasRate) throw invalidOption("arrival", `arrival ${kind} has no rate and no ramp`);
    if (kind === "closed" && options.timeScale !== undefined) {
      throw invalidOption("timeScale", "timeScale is for a trace whose times are replayed");
    }
    return { kind };
  }
  const pattern = parseArrivalPattern(kind);
  if (!hasRate) throw invalidOption("rate", `arrival ${kind} needs a rate or a ramp`);
  if (options.timeScale !== undefined) {
    throw invalidOption("timeScale", "timeScale is for a trace whose times are replayed, not for a rate");
  }
  return { kind: "process", pattern, rate: rateOf(options) };
}

function rateOf(options: WorkloadOptions): ArrivalRate {
  const { rate, rampFrom: from = 0, rampTo: to = 0, rampDelaySeconds: delaySeconds = 0 } = options;
  if (rate !== undefined) return { kind: "fixed", rate };
  const seconds = rampSeconds(options);
  if (seconds === undefined) throw invalidOption("durationSeconds", "a ramp needs durationSeconds or requests");
  if (!(seconds > 0))
    throw invalidOption("rampDelaySeconds", "rampDelaySeconds leaves nothing of the load to its ramp");
  return { kind: "ramp", from, to, seconds, delaySeconds };
}

/** Up to the duration, or as long as the requests after the delay take at the mean of both rates. */
function rampSeconds(options: WorkloadOptions): number | undefined {
  const { rampFrom = 0, rampTo = 0, rampDelaySeconds = 0, requests, durationSeconds } = options;
  if (durationSeconds !== undefined) return durationSeconds - rampDelaySeconds;
  if (requests === undefined) return undefined;
  return (2 * (requests - rampFrom * rampDelaySeconds)) / (rampFrom + rampTo);
}

type Arrivals = Pick<WorkloadPlan, "arrivals" | "arrivalDescription">;

function arrivalPlan({ seed = 0 }: WorkloadOptions, timing: Exclude<Timing, { kind: "trace" }>): Arrivals {
  if (timing.kind === "closed") return { arrivalDescription: "closed loop" };
  const { pattern, rate } = timing;
  return {
    arrivals: () => arrivalTimes(pattern, rate, new RandomSource(seed, "arrivals")),
    arrivalDescription: describeArrivals(pattern, rate),
  };
}

function bounds(
  requests: number | undefined,
  durationSeconds: number | undefined,
): Pick<WorkloadPlan, "requests" | "durationSeconds"> {
  return {
    ...(requests === undefined ? {} : { requests }),
    ...(durationSeconds === undefined ? {} : { durationSeconds }),
  };
}

/** A trace that is replayed ends with its rows; one that lends its lengths alone starts over where the load wants more. */
function tracePlan(options: WorkloadOptions, timing: Timing): Omit<WorkloadPlan, "thinkSeconds" | "seed"> {
  const { datasetFile, outputTokens, requests, durationSeconds, startOffsetSeconds = 0, timeScale = 1 } = options;
  const isCutInTime = timing.kind === "trace" && durationSeconds !== undefined;
  const { dataset, trace } = traceDataset(promptAlphabet(options.vocabularySize), {
    ...lengthLimits(options),
    path: datasetFile!,
    startOffsetSeconds,
    ...(requests === undefined ? {} : { rowLimit: requests }),
    ...(isCutInTime ? { secondsLimit: durationSeconds / timeScale } : {}),
    ...(outputTokens === undefined ? {} : { outputTokens: parseCounts(outputTokens, "outputTokens") }),
  });
  if (timing.kind === "trace") {
    // Cut by time it lasts until then, as any load that time bounds; else its last row ends it.
    const size = trace.isCutByTime ? undefined : trace.rowCount;
    return { dataset, ...replay(trace, timeScale), requests: trace.rowCount, size };
  }
  const count = requests ?? (durationSeconds === undefined ? trace.rowCount : undefined);
  const again = count === undefined || count > trace.rowCount ? ", from the first again after the last" : "";
  return {
    ...arrivalPlan(options, timing),
    ...bounds(count, durationSeconds),
    dataset: { ...dataset, description: `${dataset.description}${again}` },
    size: sizeOf(timing, count, durationSeconds),
  };
}

function replay(trace: Trace, timeScale: number): Arrivals {
  const scale = timeScale === 1 ? "" : ` (gaps times ${timeScale})`;
  return {
    *arrivals() {
      for (const { seconds } of trace.rows()) yield seconds * timeScale;
    },
    arrivalDescription: `as they came over ${(trace.seconds * timeScale).toFixed(1)} s${scale}`,
  };
}

/** In an open loop time may end the load before the count does, and so may a ramp down to nothing. */
function sizeOf(timing: Timing, requests: number | undefined, durationSeconds: number | undefined): number | undefined {
  if (timing.kind === "closed") return requests;
  const fades = timing.kind === "process" && timing.rate.kind === "ramp" && timing.rate.to === 0;
  return durationSeconds !== undefined || fades ? undefined : requests;
}
