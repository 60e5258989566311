import { availableParallelism } from "node:os";
import { KvantError } from "@kvant/core";
import type { Workload } from "../load/planned-request.ts";
import { LoadClock } from "./load-clock.ts";
import type { LiveLoad, LoadRun } from "./load-run.ts";
import type { LoadTarget } from "./load-target.ts";
import { loadWarnings } from "./load-warnings.ts";
import { PlanFeed } from "./plan-feed.ts";
import { RunningLoad, startDelayNanoseconds } from "./running-load.ts";
import { ServerMetricsPoller } from "./server-metrics-poller.ts";
import type { WorkerCommand } from "./worker-command.ts";
import { WorkerProcess } from "./worker-process.ts";

export interface RunLoadOptions {
  readonly target: LoadTarget;
  readonly workload: Workload;
  /**
   * Users of a closed loop, whose requests have no due time: each sends its next request when its last answer has ended, and in
   * a conversation when it has thought. Absent: an open loop, whose requests go out when they are due.
   */
  readonly concurrency?: number;
  /** No request is sent after so long; those in flight may end. */
  readonly durationSeconds?: number;
  /** At most so many requests, the warm-up's among them. */
  readonly requestLimit?: number;
  /** What comes first and is not measured: so long, or so many requests. */
  readonly warmUp?: { readonly seconds: number } | { readonly requests: number };
  /** Of one request, from its sending. */
  readonly deadlineSeconds: number;
  /** Client processes; default: `defaultWorkers()`, but no more than there are users. */
  readonly workers?: number;
  readonly workerCommand: WorkerCommand;
  /** Ends the load at once, with what there is. */
  readonly signal?: AbortSignal;
  /** About four times a second, and once at the end. */
  readonly onProgress?: (live: LiveLoad) => void;
  /** Prometheus text, read once a second: `http://host:port/metrics`. */
  readonly metricsUrl?: string;
  /** Records that are kept; default 100,000. */
  readonly recordLimit?: number;
}

const progressMilliseconds = 250;
const defaultRecordLimit = 100_000;

/** Half of the machine's cores, at least one: the other half is the server's, where it runs beside. */
export function defaultWorkers(): number {
  return Math.max(1, Math.floor(availableParallelism() / 2));
}

/**
 * Loads a server: worker processes send the workload's requests at their due times (or as answers end, in a closed loop) and
 * clock every chunk of the answers.
 * @throws KvantError INVALID_ARGUMENT for options that contradict each other or the workload; INTERNAL when a worker process dies
 */
export async function runLoad(options: RunLoadOptions): Promise<LoadRun> {
  const { target, workload, concurrency, signal, onProgress, metricsUrl, deadlineSeconds } = options;
  checkOptions(options);
  const feed = new PlanFeed({
    target,
    workload,
    isClosed: concurrency !== undefined,
    requestLimit: options.requestLimit ?? Number.POSITIVE_INFINITY,
  });
  const workers = await openWorkers(options);
  try {
    const startNanoseconds = process.hrtime.bigint() + startDelayNanoseconds;
    const startedAt = new Date(Date.now() + Number(startDelayNanoseconds) / 1e6).toISOString();
    const clock = new LoadClock(startNanoseconds);
    const apiKey = metricsUrl === undefined ? undefined : metricsKey(target, metricsUrl);
    const poller =
      metricsUrl === undefined
        ? undefined
        : new ServerMetricsPoller({ url: metricsUrl, clock, ...(apiKey === undefined ? {} : { apiKey }) });
    const load = new RunningLoad({
      workers,
      feed,
      clock,
      startNanoseconds,
      users: concurrency,
      stopAt: options.durationSeconds ?? Number.POSITIVE_INFINITY,
      warmUp: options.warmUp ?? { seconds: 0 },
      deadlineSeconds,
      recordLimit: options.recordLimit ?? defaultRecordLimit,
      progressMilliseconds,
      onProgress: (live) =>
        onProgress?.({ ...live, ...(poller?.latest === undefined ? {} : { server: poller.latest }) }),
    });
    const cancel = (): void => load.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    poller?.start();
    try {
      const running = load.run();
      if (signal?.aborted) load.cancel();
      const { summary, client } = await running;
      await poller?.stop();
      const run = {
        ...summary,
        startedAt,
        startNanoseconds,
        isInterrupted: signal?.aborted ?? false,
        serverSamples: poller?.samples ?? [],
        client,
      };
      return { ...run, warnings: loadWarnings(run, poller?.failure) };
    } finally {
      signal?.removeEventListener("abort", cancel);
      await poller?.stop();
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.close()));
  }
}

/**
 * The target's key, where the metrics are the target's: another host has no business with it. Behind gRPC they are on another port
 * of the same host.
 */
export function metricsKey({ url, dialect, apiKey }: LoadTarget, metricsUrl: string): string | undefined {
  if (!URL.canParse(url) || !URL.canParse(metricsUrl)) return undefined;
  const [target, metrics] = [new URL(url), new URL(metricsUrl)];
  const isOwn = dialect === "kvant-grpc" ? target.hostname === metrics.hostname : target.origin === metrics.origin;
  return isOwn ? apiKey : undefined;
}

async function openWorkers(options: RunLoadOptions): Promise<readonly WorkerProcess[]> {
  const { concurrency = Number.POSITIVE_INFINITY, workers: asked = defaultWorkers(), workerCommand, target } = options;
  const workers = Array.from({ length: Math.min(asked, concurrency) }, () => new WorkerProcess(workerCommand));
  try {
    await Promise.all(
      workers.map((worker) => {
        const ready = worker.next("ready");
        worker.send({ type: "open", target });
        return ready;
      }),
    );
    return workers;
  } catch (error) {
    await Promise.all(workers.map((worker) => worker.close()));
    throw error;
  }
}

function checkOptions(options: RunLoadOptions): void {
  const { concurrency, durationSeconds, requestLimit, warmUp, deadlineSeconds, workers, workload } = options;
  for (const [name, count] of Object.entries({ concurrency, requestLimit, workers })) {
    if (count !== undefined && !(Number.isInteger(count) && count >= 1)) {
      throw new KvantError("INVALID_ARGUMENT", `${name} is ${count}; it must be a whole number of at least 1`);
    }
  }
  for (const [name, seconds] of Object.entries({ durationSeconds, deadlineSeconds })) {
    if (seconds !== undefined && !(seconds > 0 && seconds < 2 ** 31 / 1000)) {
      throw new KvantError("INVALID_ARGUMENT", `${name} is ${seconds}; it must be above 0 and below 24 days`);
    }
  }
  if (
    concurrency !== undefined &&
    durationSeconds === undefined &&
    requestLimit === undefined &&
    workload.size === undefined
  ) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      "a closed loop over a workload without end needs a duration or a request limit",
    );
  }
  if (warmUp !== undefined && "seconds" in warmUp && warmUp.seconds >= (durationSeconds ?? Number.POSITIVE_INFINITY)) {
    const sentence = `a warm-up of ${warmUp.seconds} s leaves nothing to measure of a load of ${durationSeconds} s`;
    throw new KvantError("INVALID_ARGUMENT", sentence);
  }
}
