import { statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { KvantError } from "@kvant/core";
import { parsePrometheusText } from "../client/prometheus-text.ts";
import { promptIds } from "../engine/measure-engine.ts";
import { readMachine } from "../machine/read-machine.ts";
import { childProcesses, processUsage } from "../serving/process-usage.ts";
import { type ServerCommand, type StartedServer, startServer } from "../serving/started-server.ts";
import { coldMedians } from "./cold-medians.ts";
import {
  type ColdResult,
  type ColdRun,
  coldResultVersion,
  type EvictionMethod,
  type StartKind,
} from "./cold-result.ts";
import { firstTokens } from "./first-tokens.ts";
import { evict, type Residency, residency } from "./page-cache.ts";

export interface MeasureColdOptions extends ServerCommand, Pick<ColdResult, "flags"> {
  /** What the server's load reads; none for random weights, which only start warm. */
  readonly files: readonly string[];
  /** Of each kind. */
  readonly runs: number;
  /** Of the first request; at most half of the context. */
  readonly promptTokens: number;
  /** A start that takes longer is a failure. */
  readonly limitSeconds: number;
  /** Where dropping the files alone does not help, drop the page cache of the whole machine. Needs root. */
  readonly isMachineWide?: boolean;
  readonly onProgress?: (sentence: string) => void;
}

/** One from the prefill, one from the first decode step. */
const firstRequestTokens = 2;
const secondRequestTokens = 17;
const pollMilliseconds = 5;
/** A warm start's files are in the page cache but for this share. */
const warmShare = 0.99;

/**
 * Starts the real server again and again, cold and warm in turn, each time in a process of its own, and times how far it came:
 * code loaded, model loaded, listening, ready, first token, first decode step. One start goes before that is not measured, so
 * that Node's and Kvant's own files lie in the page cache for all of them: cold are the model's files, and nothing else.
 * A cold start whose files did not leave the page cache, as the system says itself, is left out with a warning.
 * @throws KvantError INTERNAL if a server does not become ready or does not answer
 */
export async function measureCold(options: MeasureColdOptions): Promise<ColdResult> {
  const { files, runs, flags, serveArgs, isMachineWide = false, onProgress = () => undefined } = options;
  const startedAt = new Date().toISOString();
  const machine = readMachine(options.entry);
  onProgress("a start that is not measured");
  const model = await withServer(options, ({ url }, signal) => reportedModel(url, signal));
  const promptTokens = Math.min(options.promptTokens, model.contextLength >> 1);
  const prompts = [0, 1].map((salt) => promptIds(model.vocabularySize, promptTokens, salt)) as [number[], number[]];

  const measured: ColdRun[] = [];
  const warnings = new Set<string>();
  let method: EvictionMethod = "none";
  const measure = async (start: StartKind, state: Residency | undefined, round: number): Promise<void> => {
    onProgress(`${start} start ${round} of ${runs}`);
    measured.push(await measureStart(options, prompts, start, state?.residentBytes ?? null));
  };
  for (let round = 1; round <= runs; round++) {
    const eviction = evict(files, { isMachineWide });
    if (eviction.method === "none") warnings.add(`no cold start: ${eviction.reason}`);
    else {
      method = eviction.method;
      await measure("cold", eviction.residency, round);
    }
    const state = files.length === 0 ? undefined : residency(files);
    if (state !== undefined && state.residentBytes < warmShare * state.bytes) {
      warnings.add(
        `warm start ${round} found ${state.residentBytes} of the files' ${state.bytes} bytes in the page cache`,
      );
    }
    await measure("warm", state, round);
  }

  return {
    kind: "kvant-cold",
    version: coldResultVersion,
    startedAt,
    machine: machine.facts,
    software: { kvant: model.version, node: machine.node },
    model: model.scheme,
    flags,
    serveArgs,
    promptTokens,
    files: { count: files.length, bytes: files.reduce((sum, path) => sum + statSync(path).size, 0) },
    eviction: method,
    warnings: [...warnings],
    runs: measured,
    medians: coldMedians(measured),
  };
}

async function measureStart(
  options: MeasureColdOptions,
  prompts: readonly [first: readonly number[], second: readonly number[]],
  start: StartKind,
  residentBytes: number | null,
): Promise<ColdRun> {
  return withServer(options, async (server, signal) => {
    const { url, pid, startedAt } = server;
    const { sentAt, tokensAt } = await firstTokens({
      url,
      promptIds: prompts[0],
      outputTokens: firstRequestTokens,
      signal,
    });
    const first = await decodeSteps(url, firstRequestTokens - 1, signal);
    await firstTokens({ url, promptIds: prompts[1], outputTokens: secondRequestTokens, signal });
    const all = await decodeSteps(url, first.count + secondRequestTokens - 1, signal);
    const [firstTokenAt, secondTokenAt] = tokensAt as [number, number];
    const since = (at: number): number => (at - startedAt) / 1000;
    return {
      start,
      residentBytes,
      at: {
        loading: since(server.loadingAt),
        loaded: since(server.loadedAt),
        listening: since(server.listeningAt),
        ready: since(server.readyAt),
        firstToken: since(firstTokenAt),
        firstStep: since(secondTokenAt),
      },
      loadSeconds: (await reportedModel(url, signal)).loadSeconds,
      firstTokenSeconds: (firstTokenAt - sentAt) / 1000,
      firstStepSeconds: first.seconds / first.count,
      laterStepSeconds: (all.seconds - first.seconds) / (all.count - first.count),
      peakResidentBytes: peaks(pid),
    };
  });
}

async function withServer<T>(
  options: MeasureColdOptions,
  use: (server: StartedServer, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(options.limitSeconds * 1000);
  const server = await startServer(options, signal);
  try {
    return await use(server, signal);
  } finally {
    await server.stop();
  }
}

function peaks(pid: number): ColdRun["peakResidentBytes"] {
  const [server, engines] = [processUsage(pid), childProcesses(pid)];
  const engine = engines.length === 1 ? processUsage(engines[0]!) : undefined;
  if (server === undefined || engine === undefined) return null;
  return { server: server.peakResidentBytes, engine: engine.peakResidentBytes };
}

interface DecodeSteps {
  readonly count: number;
  readonly seconds: number;
}

/**
 * Decode steps since the server's start, by its metrics. The engine's report of a step may come after the tokens that it gave, so
 * this waits until so many are counted.
 */
async function decodeSteps(url: string, atLeast: number, signal: AbortSignal): Promise<DecodeSteps> {
  for (;;) {
    const samples = parsePrometheusText(await readText(`${url}/metrics`, signal));
    const read = (suffix: string): number =>
      samples.find(({ name, labels }) => name === `kvant_step_seconds_${suffix}` && labels.kind === "decode")?.value ??
      0;
    const steps = { count: read("count"), seconds: read("sum") };
    if (steps.count >= atLeast) return steps;
    await delay(pollMilliseconds, undefined, { signal });
  }
}

interface ReportedModel {
  readonly scheme: ColdResult["model"];
  readonly version: string;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly loadSeconds: number;
}

async function reportedModel(url: string, signal: AbortSignal): Promise<ReportedModel> {
  const [models, { version }] = await Promise.all([
    readJson(`${url}/v1/models`, signal),
    readJson(`${url}/version`, signal),
  ]);
  const [{ id, max_model_len: contextLength, kvant }] = models.data;
  const { weights, activations, kv_format: kvFormat, device, tier } = kvant;
  return {
    scheme: { id, weights, activations, kvFormat, device, tier },
    version,
    vocabularySize: kvant.vocabulary_size,
    contextLength,
    loadSeconds: kvant.load_seconds,
  };
}

async function readJson(url: string, signal: AbortSignal) {
  return JSON.parse(await readText(url, signal));
}

async function readText(url: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(url, { signal });
  const text = await response.text();
  if (!response.ok) throw new KvantError("INTERNAL", `${url} answered ${response.status}: ${text.slice(0, 300)}`);
  return text;
}
