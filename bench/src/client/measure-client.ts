import { KvantError } from "@kvant/core";
import type { PlannedRequest } from "../load/planned-request.ts";
import { percentiles } from "../percentiles.ts";
import type { AnswerScript } from "../scripted-server/answer-script.ts";
import type { LoadRun } from "./load-run.ts";
import { forEachChunk } from "./record-chunks.ts";
import { defaultWorkers, runLoad } from "./run-load.ts";
import type { WorkerCommand } from "./worker-command.ts";
import type { SentTimes } from "./worker-messages.ts";
import { WorkerProcess } from "./worker-process.ts";

export interface MeasureClientOptions {
  readonly workerCommand: WorkerCommand;
  /** Default: `defaultWorkers()`. */
  readonly workers?: number;
  /** That the scripted server sends, of all streams together; default 4000. */
  readonly tokensPerSecond?: number;
  /** Measured, after a warm-up of half a second; default 1. */
  readonly seconds?: number;
  /** Open at once; default 64. */
  readonly streams?: number;
  readonly signal?: AbortSignal;
}

/** V8 compiles meanwhile; a load that lasts knows no more of it. */
const warmUpSeconds = 0.5;

/** What the client itself costs. */
export interface ClientMeasurement {
  readonly workers: number;
  /** That came, in each second. */
  readonly measuredTokensPerSecond: number;
  /** Streamed tokens that all workers together can take: what came, over the share of their time that it took. */
  readonly tokensPerSecond: number;
  /** From the server's write of a chunk to the client's clock, the kernel between them included: 50 and 99 of 100 took no longer. */
  readonly addedP50Seconds: number;
  readonly addedP99Seconds: number;
}

/**
 * Measures the client against a server that answers as told, in a process of its own on the same machine and so at the cost of
 * the same cores: streams of evenly spaced tokens, each written by itself, whose moments the server remembers.
 */
export async function measureClient(options: MeasureClientOptions): Promise<ClientMeasurement> {
  const { workerCommand, workers = defaultWorkers(), tokensPerSecond = 4000, seconds = 1, streams = 64 } = options;
  const server = new WorkerProcess(workerCommand);
  try {
    const serving = server.next("serving");
    server.send({ type: "serve" });
    const { port } = await serving;
    const gapSeconds = streams / tokensPerSecond;
    const gaps = new Array<number>(Math.ceil((warmUpSeconds + seconds) / gapSeconds)).fill(gapSeconds);
    // Each stream a little after the one before, so that tokens come one by one.
    const scripts = Array.from({ length: streams }, (_, id): AnswerScript => {
      return { id, delays: [(gapSeconds * id) / streams, ...gaps] };
    });
    const run = await runLoad({
      target: { url: `http://127.0.0.1:${port}`, dialect: "openai-completions", model: "scripted" },
      workload: { description: "scripted", size: streams, requests: () => scripts.map(scriptedRequest).values() },
      concurrency: streams,
      deadlineSeconds: 10 + 4 * seconds,
      workers,
      workerCommand,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const times = server.next("sent-times");
    server.send({ type: "sent-times" });
    return measurementOf(run, (await times).times, warmUpSeconds + seconds);
  } finally {
    await server.close();
  }
}

/** A request whose answer is known. */
export function scriptedRequest(script: AnswerScript, index: number): PlannedRequest {
  const prompt = { kind: "text", text: JSON.stringify(script) } as const;
  return { index, prompt, maxTokens: script.delays.length, isFixedLength: true };
}

/**
 * For each chunk of each record, whose index is its script's id: seconds from the server's write to the client's clock.
 * @param from and `until`: seconds after the start of the load, between which a chunk was written that counts
 */
export function addedSeconds(
  run: LoadRun,
  sentTimes: SentTimes,
  from = 0,
  until = Number.POSITIVE_INFINITY,
): Float64Array {
  const added: number[] = [];
  for (const record of run.records) {
    const sent = sentTimes.get(record.index);
    if (sent === undefined)
      throw new KvantError("INTERNAL", `the scripted server has not seen request ${record.index}`);
    let chunk = 0;
    forEachChunk(record, (at) => {
      const sentAt = (sent[chunk++]! - Number(run.startNanoseconds)) / 1e9;
      if (sentAt >= from && sentAt < until) added.push(at - sentAt);
    });
  }
  return Float64Array.from(added);
}

function measurementOf(run: LoadRun, sentTimes: SentTimes, until: number): ClientMeasurement {
  const added = addedSeconds(run, sentTimes, warmUpSeconds, until);
  if (added.length === 0) {
    const [failure = "it was interrupted"] = Object.values(run.totals.failureExamples);
    throw new KvantError("INTERNAL", `the client could not be measured: ${failure}`);
  }
  const [p50, p99] = percentiles(added, [50, 99]);
  return {
    workers: run.client.workers,
    measuredTokensPerSecond: added.length / (until - warmUpSeconds),
    tokensPerSecond: (run.totals.outputTokens / Math.max(run.client.busySeconds, 1e-3)) * run.client.workers,
    addedP50Seconds: p50!,
    addedP99Seconds: p99!,
  };
}
