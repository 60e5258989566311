import { type ChildProcess, spawn } from "node:child_process";
import { setMaxListeners } from "node:events";
import { KvantError } from "@kvant/core";
import { percentiles } from "../percentiles.ts";
import {
  childProcesses,
  type ProcessUsage,
  processUsage,
  secondsOf,
  type ThreadShare,
  threadShares,
} from "./process-usage.ts";
import { runStreams, type StreamResult } from "./stream-load.ts";

export interface MeasureServingOptions {
  /** The command line's entry file, run by this Node. */
  readonly entry: string;
  /** What follows `serve`: a model and its flags. */
  readonly serveArgs: readonly string[];
  readonly streams: number;
  /** In all; at least one per stream. */
  readonly requests: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** The measurement is given up after this long. */
  readonly limitSeconds: number;
  readonly onProgress?: (phase: string) => void;
}

/** Processor time of one of the two processes from the first of the measured requests to the last; loading is not in it. */
export interface ProcessShare {
  readonly cpuSeconds: number;
  /** Of the thread that runs JavaScript. */
  readonly mainThreadSeconds: number;
  readonly cpuSecondsPerStep: number;
  /** Where `cpuSeconds` went; what is missing was spent by threads that have ended. */
  readonly threads: readonly ThreadShare[];
  readonly peakResidentBytes: number;
}

export interface ServingMeasurement {
  readonly model: string;
  readonly weights: string;
  readonly activations: string;
  /** Of the output head. */
  readonly headFormat: string | undefined;
  readonly kvFormat: string;
  readonly device: string;
  readonly tier: string;
  readonly deterministic: boolean;
  readonly streams: number;
  readonly requests: number;
  readonly failures: number;
  /** The first few different ones. */
  readonly failureSentences: readonly string[];
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly seconds: number;
  readonly outputTokensPerSecond: number;
  readonly firstTokenSeconds: Percentiles;
  readonly interTokenSeconds: Percentiles;
  readonly steps: number;
  /** Of the executable, from submission to result. */
  readonly meanStepSeconds: number;
  /** Steps together over the time that the streams took: what is missing to 100 is the device's waiting for its host. */
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

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/**
 * Starts the real server in a process of its own, loads it with streams over loopback HTTP, and sets what clients see beside
 * what the two processes spend. One short request goes before, so that lazy set-up is not measured.
 */
export async function measureServing(options: MeasureServingOptions): Promise<ServingMeasurement> {
  const { onProgress = () => undefined, streams, requests, promptTokens, outputTokens } = options;
  const limit = AbortSignal.timeout(options.limitSeconds * 1000);
  // Every stream listens.
  setMaxListeners(0, limit);
  onProgress("starting the server");
  const server = await startServer(options, limit);
  try {
    const model = await reportedModel(server.url);
    const load = { url: server.url, vocabularySize: model.vocabulary_size, signal: limit };
    await runStreams({ ...load, streams: 1, requests: 1, promptTokens: 8, outputTokens: 8 });
    const before = await snapshot(server);
    onProgress(`${streams} streams`);
    const startedAt = performance.now();
    const results = await runStreams({ ...load, streams, requests, promptTokens, outputTokens });
    const seconds = (performance.now() - startedAt) / 1000;
    const after = await snapshot(server);
    const delta = (name: string) => after.metric(name) - before.metric(name);
    const [steps, stepSeconds] = [delta("kvant_step_seconds_count"), delta("kvant_step_seconds_sum")];
    const decode = '{kind="decode"}';
    const decodeSteps = delta(`kvant_step_seconds_count${decode}`);
    const [serverShare, engineShare] = [
      shareOf(before.server, after.server, steps),
      shareOf(before.engine, after.engine, steps),
    ];
    const meanDecodeStepSeconds = delta(`kvant_step_seconds_sum${decode}`) / decodeSteps;
    const both = (pick: (share: ProcessShare) => number, over: number) =>
      serverShare === null || engineShare === null ? null : (pick(serverShare) + pick(engineShare)) / over;
    const tokenCount = results.reduce((sum, { completionTokens }) => sum + completionTokens, 0);
    const failed = results.flatMap(({ failure }) => (failure === undefined ? [] : [failure]));
    return {
      model: model.id,
      weights: model.weights,
      activations: model.activations,
      headFormat: model.tensor_classes.find((row) => row.class === "head")?.format,
      kvFormat: model.kv_format,
      device: model.device,
      tier: model.tier,
      deterministic: model.deterministic,
      streams,
      requests,
      failures: requests - results.length + failed.length,
      failureSentences: [...new Set(failed)].slice(0, 3),
      promptTokens,
      outputTokens,
      seconds,
      outputTokensPerSecond: tokenCount / seconds,
      firstTokenSeconds: secondsPercentiles(results.flatMap(({ firstToken }) => firstToken ?? [])),
      interTokenSeconds: secondsPercentiles(allGaps(results)),
      steps,
      meanStepSeconds: stepSeconds / steps,
      busyPercent: (100 * stepSeconds) / seconds,
      decodeSteps,
      meanDecodeStepSeconds,
      server: serverShare,
      engine: engineShare,
      mainThreadPercentOfStep: both(({ mainThreadSeconds }) => mainThreadSeconds, stepSeconds / 100),
      cpuPercentOfStep: both(({ cpuSeconds }) => cpuSeconds, stepSeconds / 100),
      cpuPercentOfDecodeStep: both(({ cpuSecondsPerStep }) => cpuSecondsPerStep, meanDecodeStepSeconds / 100),
      cpuSecondsPerOutputToken: both(({ cpuSeconds }) => cpuSeconds, tokenCount),
      deviceBytes: after.metric("kvant_device_memory_bytes"),
      preemptions: delta("kvant_preemptions_total"),
    };
  } finally {
    await server.stop();
  }
}

interface StartedServer {
  readonly url: string;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

async function startServer({ entry, serveArgs }: MeasureServingOptions, limit: AbortSignal): Promise<StartedServer> {
  const args = [entry, "serve", ...serveArgs, "--port", "0", "--no-grpc", "--log-level", "error"];
  const child = spawn(process.execPath, [...process.execArgv, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    const patience = setTimeout(() => child.kill("SIGKILL"), 20_000);
    await ended;
    clearTimeout(patience);
  };
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    const giveUp = () => reject(new KvantError("INTERNAL", `the server was not ready in time; it said: ${said}`));
    limit.addEventListener("abort", giveUp, { once: true });
    child.once("exit", (code) =>
      reject(new KvantError("INTERNAL", `the server ended with ${code} before it was ready; it said: ${said}`)),
    );
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4000);
      const match = /ready at (http:\/\/\S+)/.exec(said);
      if (match !== null) resolve(match[1]!);
    });
  }).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return { url, process: child, stop };
}

interface ReportedModel {
  readonly id: string;
  readonly vocabulary_size: number;
  readonly weights: string;
  readonly activations: string;
  readonly kv_format: string;
  readonly device: string;
  readonly tier: string;
  readonly deterministic: boolean;
  readonly tensor_classes: readonly { readonly class: string; readonly format: string }[];
}

async function reportedModel(url: string): Promise<ReportedModel> {
  const answer = await (await fetch(`${url}/v1/models`)).text();
  const [{ id, kvant }] = JSON.parse(answer).data;
  return { id, ...kvant };
}

interface Snapshot {
  /** A metric by its full name, or the sum over the labels of a name without any. */
  metric(name: string): number;
  readonly server: ProcessUsage | undefined;
  readonly engine: ProcessUsage | undefined;
}

async function snapshot({ url, process: { pid } }: StartedServer): Promise<Snapshot> {
  const lines = (await (await fetch(`${url}/metrics`)).text()).split("\n");
  const engines = pid === undefined ? [] : childProcesses(pid);
  return {
    metric: (name) =>
      lines
        .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0),
    server: pid === undefined ? undefined : processUsage(pid),
    engine: engines.length === 1 ? processUsage(engines[0]!) : undefined,
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

function allGaps(results: readonly StreamResult[]): Float64Array {
  const all = new Float64Array(results.reduce((sum, { gaps }) => sum + gaps.length, 0));
  let at = 0;
  for (const { gaps } of results) {
    all.set(gaps, at);
    at += gaps.length;
  }
  return all;
}

/** Of milliseconds, in seconds; 0 where nothing was measured. */
function secondsPercentiles(milliseconds: ArrayLike<number>): Percentiles {
  if (milliseconds.length === 0) return { p50: 0, p99: 0 };
  const [p50, p99] = percentiles(milliseconds, [50, 99]);
  return { p50: p50! / 1000, p99: p99! / 1000 };
}
