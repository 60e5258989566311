import { setMaxListeners } from "node:events";
import {
  describeServer,
  type LoadResult,
  type LoadTarget,
  loadMarkdown,
  loadPage,
  loadResultOf,
  loadRow,
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
import { type LiveLoadView, liveLoadView } from "../live-load-view.ts";
import type { LoadFlags } from "../load-flags.ts";
import { apiKey, isOwnServer, recordedFlags, serveFlags, serverUrl, sweepLevels, withDefaults } from "../load-plan.ts";
import { loadSummary } from "../load-summary.ts";
import { printRow, say } from "../print.ts";
import { version } from "../version.ts";

/** What a shell reports for a program that SIGINT ended. */
const interruptedExitCode = 130;

/** The hidden command of the client's processes. */
const workerCommand = { entry: process.argv[1]!, args: ["bench", "load-worker"] };

/** Loads a server, or one of its own that takes `serveArgs`, and reports. */
export async function benchServe(serveArgs: readonly string[], given: LoadFlags): Promise<void> {
  const flags = withDefaults(given);
  const objectives = flags.slo === undefined ? undefined : parseObjectives(flags.slo);
  // A mistake should show before a server has loaded its model, not after.
  if (isOwnServer(flags)) sweepLevels(flags, flags.vocabularySize);
  const ending = endOfLoad(flags.limitSeconds);
  let own: StartedServer | undefined;
  let sweep: Sweep | undefined;
  try {
    if (isOwnServer(flags)) own = await ownServer(flags, serveArgs, ending.signal);
    const { target, description } = await loadTarget(flags, own, apiKey(flags));
    const levels = sweepLevels(flags, target.dialect === "openai-chat" ? undefined : vocabulary(flags, description));
    const client = await clientCost(flags, ending.signal);
    const load = { flags, client, target, description, levels, ...(objectives === undefined ? {} : { objectives }) };
    sweep = await measuredSweep(load, own, ending.signal);
    report(sweep, resultOf(load, serveArgs, sweep), flags);
    if (sweep.measured.some(({ level }) => Object.keys(level.failures).length > 0)) process.exitCode = 1;
  } catch (error) {
    // What Ctrl-C broke off before the load is no failure, and there is nothing to report.
    if (sweep !== undefined || !ending.isInterrupted()) throw error;
  } finally {
    if (ending.isInterrupted()) process.exitCode = interruptedExitCode;
    ending.forget();
    await own?.stop();
  }
}

interface Ending {
  readonly signal: AbortSignal;
  readonly isInterrupted: () => boolean;
  readonly forget: () => void;
}

/** The first Ctrl-C ends the load with a report, the second one the program; so does, without it, the time limit. */
function endOfLoad(limitSeconds: number): Ending {
  const interrupt = new AbortController();
  const onInterrupt = (): void => {
    if (interrupt.signal.aborted) process.exit(interruptedExitCode);
    say("kvant: ending the load; once more to leave without a report");
    interrupt.abort();
  };
  process.on("SIGINT", onInterrupt);
  const signal = AbortSignal.any([interrupt.signal, AbortSignal.timeout(limitSeconds * 1000)]);
  // Levels, workers and the server all listen.
  setMaxListeners(0, signal);
  return {
    signal,
    isInterrupted: () => interrupt.signal.aborted,
    forget: () => void process.off("SIGINT", onInterrupt),
  };
}

async function ownServer(flags: LoadFlags, rest: readonly string[], signal: AbortSignal): Promise<StartedServer> {
  say("starting the server");
  const server = await startServer({ entry: process.argv[1]!, serveArgs: serveFlags(flags, rest) }, signal);
  // A first request sets up what is lazy, which no load should pay.
  const body = JSON.stringify({ prompt: [0], max_tokens: 8, temperature: 0, ignore_eos: true });
  const headers = { "content-type": "application/json" };
  await fetch(`${server.url}/v1/completions`, { method: "POST", headers, body, signal }).then((answer) =>
    answer.text(),
  );
  return server;
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
  return {
    workers: measured.workers,
    tokensPerSecond: measured.tokensPerSecond,
    addedP99Seconds: measured.addedP99Seconds,
  };
}

interface LoadInHand extends AskedServer {
  readonly flags: LoadFlags;
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
    ...(own === undefined ? {} : { process: own }),
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
  });
}

function resultOf(load: LoadInHand, serveArgs: readonly string[], sweep: Sweep): LoadResult {
  const { flags, client, target, description, levels, objectives } = load;
  const { facts, node } = readMachine(process.argv[1]!);
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

function report({ measured }: Sweep, result: LoadResult, { output, html, markdown, name, json }: LoadFlags): void {
  const write = (path: string | undefined, content: (path: string) => void): void => {
    if (path === undefined) return;
    content(path);
    say(`wrote ${path}`);
  };
  write(output, (path) => writeLoadResult(path, result));
  write(html, (path) => replaceTextFile(path, loadPage(result, name)));
  write(markdown, (path) => replaceTextFile(path, loadMarkdown(result, name)));
  if (json) for (const { level, cost } of measured) printRow({ ...loadRow(result, level), ...cost });
  else process.stdout.write(`${loadSummary(result, measured)}\n`);
}
