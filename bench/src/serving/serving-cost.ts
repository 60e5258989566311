import { KvantError } from "@kvant/core";
import { parsePrometheusText } from "../client/prometheus-text.ts";
import {
  childProcesses,
  type ProcessUsage,
  processUsage,
  secondsOf,
  type ThreadShare,
  threadShares,
} from "./process-usage.ts";

/** Processor time of one of a server's two processes over a load; loading is not in it. */
export interface ProcessShare {
  readonly cpuSeconds: number;
  /** Of the thread that runs JavaScript. */
  readonly mainThreadSeconds: number;
  readonly cpuSecondsPerStep: number;
  /** Where `cpuSeconds` went; what is missing was spent by threads that have ended. */
  readonly threads: readonly ThreadShare[];
  readonly peakResidentBytes: number;
}

/** What a load cost a Kvant server on this machine. */
export interface ServingCost {
  readonly steps: number;
  /** Of the executable, from submission to result. */
  readonly meanStepSeconds: number;
  /** Steps together over the time of the load: what is missing to 100 is the device's waiting for its host. */
  readonly busyPercent: number;
  readonly decodeSteps: number;
  readonly meanDecodeStepSeconds: number;
  /** null where the system does not tell. */
  readonly server: ProcessShare | null;
  readonly engine: ProcessShare | null;
  /** Processor time of both JavaScript threads per step over a step's time. */
  readonly mainThreadPercentOfStep: number | null;
  /** The same of all threads; on the CPU backend these do the model's work. */
  readonly cpuPercentOfStep: number | null;
  /** Processor time of all threads per step over the time of a step that only decodes. */
  readonly cpuPercentOfDecodeStep: number | null;
  /** Of both processes, all threads. */
  readonly cpuSecondsPerOutputToken: number | null;
  /** Of the device, as the engine reports it: weights, pages, activations. */
  readonly deviceBytes: number;
  readonly preemptions: number;
}

/** A server's counters and processes at one moment. */
export interface ServingSnapshot {
  /** The sum over the samples of that name which have these labels; 0 where there is none. */
  metric(name: string, labels?: Readonly<Record<string, string>>): number;
  readonly server: ProcessUsage | undefined;
  readonly engine: ProcessUsage | undefined;
}

export interface ServedProcess {
  readonly url: string;
  readonly pid: number;
  readonly apiKey?: string;
}

/** A server under load answers late, but one that takes longer is not going to. */
const patienceMilliseconds = 10_000;

/**
 * Reads `/metrics` and /proc of a Kvant server.
 * @throws KvantError INTERNAL if it does not tell its metrics, and what `fetch` throws
 */
export async function servingSnapshot({ url, pid, apiKey }: ServedProcess): Promise<ServingSnapshot> {
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const answer = await fetch(`${url}/metrics`, { headers, signal: AbortSignal.timeout(patienceMilliseconds) });
  const text = await answer.text();
  if (!answer.ok) throw new KvantError("INTERNAL", `${url}/metrics answers ${answer.status}`);
  const samples = parsePrometheusText(text);
  const engines = childProcesses(pid);
  return {
    metric: (name, wanted = {}) =>
      samples
        .filter((sample) => sample.name === name)
        .filter(({ labels }) => Object.entries(wanted).every(([label, value]) => labels[label] === value))
        .reduce((sum, { value }) => sum + value, 0),
    server: processUsage(pid),
    engine: engines.length === 1 ? processUsage(engines[0]!) : undefined,
  };
}

/**
 * What was spent between two snapshots.
 * @param seconds that the load took, and `outputTokens` that it gave
 */
export function servingCost(
  before: ServingSnapshot,
  after: ServingSnapshot,
  { seconds, outputTokens }: { readonly seconds: number; readonly outputTokens: number },
): ServingCost {
  const delta = (name: string, labels?: Readonly<Record<string, string>>): number =>
    after.metric(name, labels) - before.metric(name, labels);
  const [steps, stepSeconds] = [delta("kvant_step_seconds_count"), delta("kvant_step_seconds_sum")];
  const decode = { kind: "decode" };
  const decodeSteps = delta("kvant_step_seconds_count", decode);
  const meanDecodeStepSeconds = delta("kvant_step_seconds_sum", decode) / decodeSteps;
  const server = shareOf(before.server, after.server, steps);
  const engine = shareOf(before.engine, after.engine, steps);
  const both = (pick: (share: ProcessShare) => number, over: number): number | null =>
    server === null || engine === null ? null : (pick(server) + pick(engine)) / over;
  return {
    steps,
    meanStepSeconds: stepSeconds / steps,
    busyPercent: (100 * stepSeconds) / seconds,
    decodeSteps,
    meanDecodeStepSeconds,
    server,
    engine,
    mainThreadPercentOfStep: both(({ mainThreadSeconds }) => mainThreadSeconds, stepSeconds / 100),
    cpuPercentOfStep: both(({ cpuSeconds }) => cpuSeconds, stepSeconds / 100),
    cpuPercentOfDecodeStep: both(({ cpuSecondsPerStep }) => cpuSecondsPerStep, meanDecodeStepSeconds / 100),
    cpuSecondsPerOutputToken: both(({ cpuSeconds }) => cpuSeconds, outputTokens),
    deviceBytes: after.metric("kvant_device_memory_bytes"),
    preemptions: delta("kvant_preemptions_total"),
  };
}

function shareOf(
  before: ProcessUsage | undefined,
  after: ProcessUsage | undefined,
  steps: number,
): ProcessShare | null {
  if (before === undefined || after === undefined) return null;
  const cpuSeconds = after.seconds - before.seconds;
  const threads = threadShares(before, after);
  return {
    cpuSeconds,
    mainThreadSeconds: threads.filter(({ name }) => name === "main").reduce((sum, share) => sum + secondsOf(share), 0),
    cpuSecondsPerStep: cpuSeconds / steps,
    threads,
    peakResidentBytes: after.peakResidentBytes,
  };
}
