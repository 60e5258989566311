import {
  describeServer,
  type LoadLevel,
  type LoadResult,
  type LoadTarget,
  loadMarkdown,
  loadPage,
  loadResultOf,
  loadRow,
  type Machine,
  measureClient,
  type Objectives,
  parseObjectives,
  readMachine,
  replaceTextFile,
  runSweep,
  type ServerDescription,
  type StartedServer,
  type Sweep,
  type SweepLevel,
  startServer,
  writeLoadResult,
} from "@kvant/bench";
import { KvantError } from "@kvant/core";
import { exitCodeOf } from "../ending-signals.ts";
import { namingFlags } from "../flag-errors.ts";
import { type LiveLoadView, liveLoadView } from "../live-load-view.ts";
import { loadEnding } from "../load-ending.ts";
import type { LoadFlags } from "../load-flags.ts";
import { apiKey, isOwnServer, recordedFlags, serveFlags, serverUrl, sweepLevels, withDefaults } from "../load-plan.ts";
import { clientCostText, loadSummary } from "../load-summary.ts";
import { requireWritable, writeAsked } from "../output-files.ts";
import { printRow, say } from "../print.ts";
import { version } from "../version.ts";

/** The hidden command of the client's processes. */
const workerCommand = { entry: process.argv[1]!, args: ["bench", "load-worker"] };

/** Loads a server, or one of its own that takes `serveArgs`, and reports. */
export async function benchServe(serveArgs: readonly string[], given: LoadFlags): Promise<void> {
  const flags = withDefaults(given);
  const objectives = flags.slo === undefined ? undefined : parseObjectives(flags.slo);
  // A mistake should show before a server has loaded its model and minutes have gone into a load, not after.
  if (isOwnServer(flags)) namingFlags(() => sweepLevels(flags, flags.vocabularySize));
  requireWritable([flags.output, flags.html, flags.markdown]);
  const key = apiKey(flags);
  const ending = loadEnding();
  let own: StartedServer | undefined;
  let sweep: Sweep | undefined;
  try {
    if (isOwnServer(flags)) own = await ownServer(flags, serveArgs, key, ending.within(flags.limitSeconds));
    const { target, description } = await loadTarget(flags, own, key);
    const vocabularySize = target.dialect === "openai-chat" ? undefined : vocabulary(flags, description);
    const levels = namingFlags(() => sweepLevels(flags, vocabularySize));
    const machine = readMachine(process.argv[1]!);
    const client = await clientCost(flags, ending.interrupt);
    const asked = { flags, machine, client, target, description, levels };
    const load = { ...asked, ...(objectives === undefined ? {} : { objectives }) };
    sweep = await measuredSweep(load, own, ending.within(flags.limitSeconds));
    report(sweep, resultOf(load, serveArgs, sweep), flags);
    const isWhole = sweep.measured.length === levels.length;
    if (!isWhole || sweep.measured.some(({ level }) => !isSound(level))) process.exitCode = 1;
  } catch (error) {
    // What Ctrl-C broke off before the load is no failure, and there is nothing to report.
    if (sweep !== undefined || ending.interruptedBy() === undefined) throw error;
  } finally {
    const signal = ending.interruptedBy();
    if (signal !== undefined) process.exitCode = exitCodeOf(signal);
    await own?.stop();
    ending.forget();
  }
}

/** Something was measured, and nothing failed. */
function isSound({ requests, completed }: LoadLevel): boolean {
  return requests > 0 && completed === requests;
}

async function ownServer(
  flags: LoadFlags,
  rest: readonly string[],
  key: string | undefined,
  signal: AbortSignal,
): Promise<StartedServer> {
  say("starting the server");
  const server = await startServer({ entry: process.argv[1]!, serveArgs: serveFlags(flags, rest) }, signal);
  try {
    await warmServer(server.url, key, signal);
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** A first request sets up what is lazy, which no load should pay. */
async function warmServer(url: string, key: string | undefined, signal: AbortSignal): Promise<void> {
  const authorization = key === undefined ? undefined : `Bearer ${key}`;
  const headers = { "content-type": "application/json", ...(authorization === undefined ? {} : { authorization }) };
  const body = JSON.stringify({ prompt: [0], max_tokens: 8, temperature: 0, ignore_eos: true });
  const answer = await fetch(`${url}/v1/completions`, { method: "POST", headers, body, signal });
  const text = await answer.text();
  if (answer.ok) return;
  if (answer.status === 401)
    throw new KvantError("UNAUTHORIZED", `the server wants a key: give --api-key-file before --`);
  throw new KvantError("INTERNAL", `the server's first request got status ${answer.status}: ${text.slice(0, 300)}`);
}

interface AskedServer {
  readonly target: LoadTarget;
  readonly description: ServerDescription;
}

async function loadTarget(
  flags: LoadFlags,
  own: StartedServer | undefined,
  key: string | undefined,
): Promise<AskedServer> {
  const { grpc, model, endpoint, dataset, temperature, extraBody, tokenizer } = flags;
  const url = grpc === undefined ? serverUrl(own?.url ?? flags.url!) : `grpc://${grpc}`;
  const asked = { url, ...(key === undefined ? {} : { apiKey: key }), ...(model === undefined ? {} : { model }) };
  const description = await describeServer(asked);
  const kind = endpoint ?? (dataset === "conversation" ? "chat" : "completions");
  return {
    description,
    target: {
      ...asked,
      model: description.model,
      dialect: grpc !== undefined ? "kvant-grpc" : kind === "chat" ? "openai-chat" : "openai-completions",
      ...(temperature === undefined ? {} : { temperature }),
      ...(extraBody === undefined ? {} : { extraBody }),
      ...(tokenizer === undefined ? {} : { tokenizerFolder: tokenizer }),
    },
  };
}

function vocabulary({ vocabularySize }: LoadFlags, description: ServerDescription): number | undefined {
  return vocabularySize ?? description.vocabularySize;
}

/** What the client costs by itself, so that nobody takes its limits for the server's. */
async function clientCost({ workers }: LoadFlags, signal: AbortSignal): Promise<LoadResult["client"]> {
  say("measuring the client against a server that answers at once");
  const measured = await measureClient({ workerCommand, signal, ...(workers === undefined ? {} : { workers }) });
  const cost = {
    workers: measured.workers,
    tokensPerSecond: measured.tokensPerSecond,
    addedP99Seconds: measured.addedP99Seconds,
  };
  say(clientCostText(cost));
  return cost;
}

interface LoadInHand extends AskedServer {
  readonly flags: LoadFlags;
  readonly machine: Machine;
  readonly client: LoadResult["client"];
  readonly levels: readonly SweepLevel[];
  readonly objectives?: Objectives;
}

async function measuredSweep(
  { flags, target, levels, objectives }: LoadInHand,
  own: StartedServer | undefined,
  signal: AbortSignal,
): Promise<Sweep> {
  const { warmUp, workers, requestTimeout, limitSeconds, metricsUrl } = flags;
  const metrics = metricsUrl ?? (target.dialect === "kvant-grpc" ? undefined : `${target.url}/metrics`);
  let view: LiveLoadView | undefined;
  const { apiKey } = target;
  return await runSweep({
    target,
    levels,
    deadlineSeconds: requestTimeout ?? limitSeconds,
    workerCommand,
    signal,
    ...(workers === undefined ? {} : { workers }),
    ...(warmUp === undefined ? {} : { warmUp }),
    ...(objectives === undefined ? {} : { objectives }),
    ...(metrics === undefined ? {} : { metricsUrl: metrics }),
    ...(own === undefined ? {} : { process: { ...own, ...(apiKey === undefined ? {} : { apiKey }) } }),
    onLevelStart: ({ name, requestLimit, durationSeconds }, index) => {
      view = liveLoadView({
        name,
        ...(levels.length === 1 ? {} : { place: `${index + 1} of ${levels.length}` }),
        ...(requestLimit === undefined ? {} : { requests: requestLimit }),
        ...(durationSeconds === undefined ? {} : { durationSeconds }),
      });
    },
    onProgress: (live) => view?.update(live),
    onLevelEnd: () => view?.stop(),
  }).finally(() => view?.stop());
}

function resultOf(load: LoadInHand, serveArgs: readonly string[], sweep: Sweep): LoadResult {
  const { flags, client, target, description, levels, objectives } = load;
  const { facts, node } = load.machine;
  const { software, scheme } = description;
  return loadResultOf(sweep, {
    machine: facts,
    software: { kvant: version, node },
    server: {
      ...{ target: target.url, model: target.model, dialect: target.dialect },
      ...(software === undefined ? {} : { software }),
      ...(scheme === undefined ? {} : { scheme }),
    },
    client,
    flags: recordedFlags(flags, serveArgs),
    seed: flags.seed,
    workload: workloadText(levels),
    ...(objectives === undefined ? {} : { objectives }),
  });
}

/** Levels of a closed loop ask alike; of those with a rate the first speaks for the others. Seeds are told apart. */
function workloadText(levels: readonly SweepLevel[]): string {
  const [first, ...others] = levels.map(({ workload }) => workload.description.replace(/; seed \d+$/, ""));
  if (others.every((description) => description === first)) return first!;
  const names = levels.slice(1).map(({ name }) => name);
  return `${first}; the same at ${names.join("; ")}`;
}

/** Prints first: a file that cannot be written after all should not take the figures with it. */
function report({ measured }: Sweep, result: LoadResult, { output, html, markdown, name, json }: LoadFlags): void {
  if (json) {
    for (const { level, cost } of measured) printRow({ ...loadRow(result, level), ...cost });
    for (const warning of result.warnings) say(`warning: ${warning}`);
  } else process.stdout.write(`${loadSummary(result, measured)}\n`);
  writeAsked(output, (path) => writeLoadResult(path, result));
  writeAsked(html, (path) => replaceTextFile(path, loadPage(result, name)));
  writeAsked(markdown, (path) => replaceTextFile(path, loadMarkdown(result, name)));
}
