import { LiveCounters } from "./live-counters.ts";
import type { LoadClock } from "./load-clock.ts";
import type { Dialogue } from "./load-driver.ts";
import type { ClientLoad, LiveLoad } from "./load-run.ts";
import { LoadSummary, type SummarizedLoad } from "./load-summary.ts";
import type { PlanFeed } from "./plan-feed.ts";
import type { FromWorker, WorkerLoad } from "./worker-messages.ts";
import type { WorkerProcess } from "./worker-process.ts";

const feedMilliseconds = 50;
/** Workers hold what is due within it, so that neither the plan's drawing nor the channel makes a request late. */
const horizonSeconds = 1;
/** Dialogues that a worker of a closed loop has in reserve: for a round trip of the channel, however short its requests. */
const reserve = (users: number): number => 2 * users + 32;
/** Between the order to start and the start: the order travels, and the first requests with it. */
export const startDelayNanoseconds = 50_000_000n;

export interface RunningLoadOptions {
  readonly workers: readonly WorkerProcess[];
  readonly feed: PlanFeed;
  readonly clock: LoadClock;
  readonly startNanoseconds: bigint;
  /** Of a closed loop, in all. */
  readonly users: number | undefined;
  /** Infinity: none. */
  readonly stopAt: number;
  readonly warmUp: { readonly seconds: number } | { readonly requests: number };
  readonly deadlineSeconds: number;
  readonly recordLimit: number;
  readonly onProgress: ((live: Omit<LiveLoad, "server">) => void) | undefined;
  readonly progressMilliseconds: number;
}

interface WorkerState {
  readonly process: WorkerProcess;
  readonly users: number | undefined;
  /** Given and not begun. */
  held: number;
  load: WorkerLoad | undefined;
}

/** A load from its start to the last answer: hands out the plan, and gathers what the workers saw. */
export class RunningLoad {
  readonly #options: RunningLoadOptions;
  readonly #states: readonly WorkerState[];
  readonly #summary: LoadSummary;
  readonly #live = new LiveCounters();
  #end: () => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;
  #nextWorker = 0;
  #isPlanComplete = false;
  #cancelledAt: number | undefined;

  constructor(options: RunningLoadOptions) {
    const { workers, users, warmUp, stopAt, recordLimit } = options;
    this.#options = options;
    this.#summary = new LoadSummary({ warmUp, until: stopAt, recordLimit });
    this.#states = workers.map((process, i) => ({
      process,
      users: users === undefined ? undefined : share(users, workers.length, i),
      held: 0,
      load: undefined,
    }));
  }

  /** @throws KvantError INTERNAL when a worker dies, and what the plan throws */
  async run(): Promise<{ readonly summary: SummarizedLoad; readonly client: ClientLoad }> {
    const { feed, startNanoseconds, stopAt, deadlineSeconds, onProgress, progressMilliseconds } = this.#options;
    const ended = new Promise<void>((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    for (const state of this.#states) {
      state.process.onMessage((message) => this.#hear(state, message));
      state.process.onFailure((error) => this.#fail(error));
      state.process.send({ type: "start", start: { startNanoseconds, users: state.users, stopAt, deadlineSeconds } });
    }
    this.#feed();
    const feeding = setInterval(() => this.#feed(), feedMilliseconds);
    const showing = onProgress && setInterval(() => onProgress(this.#progress()), progressMilliseconds);
    try {
      await ended;
    } finally {
      clearInterval(feeding);
      clearInterval(showing);
    }
    onProgress?.(this.#progress());
    const isCutShort = this.#cancelledAt !== undefined || feed.hasRunOut;
    return {
      summary: this.#summary.finish({ endedAt: this.#cancelledAt ?? 0, isCutShort }),
      client: this.#client(),
    };
  }

  /** Ends everything now; `run` then gives what there is. */
  cancel(): void {
    this.#cancelledAt ??= Math.max(0, this.#options.clock.now());
    this.#isPlanComplete = true;
    for (const { process } of this.#states) process.send({ type: "cancel" });
  }

  #hear(state: WorkerState, message: FromWorker): void {
    if (message.type === "taken") {
      state.held -= message.count;
      this.#feed();
    } else if (message.type === "report") {
      this.#live.add(message.report);
      for (const record of message.report.records) this.#summary.add(record);
    } else if (message.type === "idle") {
      state.load = message.load;
      if (this.#states.every(({ load }) => load !== undefined)) this.#end();
    }
  }

  #feed(): void {
    if (this.#isPlanComplete) return;
    try {
      const parcels = this.#options.users === undefined ? this.#dueParcels() : this.#wantedParcels();
      for (const [state, dialogues] of parcels) {
        state.held += dialogues.length;
        state.process.send({ type: "dialogues", dialogues });
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#options.feed.next !== undefined && this.#options.clock.now() < this.#options.stopAt) return;
    this.#isPlanComplete = true;
    for (const { process } of this.#states) process.send({ type: "complete" });
  }

  /** Of an open loop: what is due soon, to each worker in turn. */
  #dueParcels(): Map<WorkerState, Dialogue[]> {
    const { feed, stopAt } = this.#options;
    const until = Math.min(stopAt, this.#options.clock.now() + horizonSeconds);
    const parcels = new Map<WorkerState, Dialogue[]>();
    while (feed.next !== undefined && (feed.next[0]?.dueSeconds ?? 0) < until) {
      this.#put(parcels, this.#states[this.#nextWorker++ % this.#states.length]!);
    }
    return parcels;
  }

  /** Of a closed loop: what each worker lacks, to each in turn. */
  #wantedParcels(): Map<WorkerState, Dialogue[]> {
    const { feed } = this.#options;
    const parcels = new Map<WorkerState, Dialogue[]>();
    const lacks = (state: WorkerState): boolean =>
      state.held + (parcels.get(state)?.length ?? 0) < reserve(state.users ?? 0);
    for (let lacking = this.#states.filter(lacks); lacking.length > 0; lacking = lacking.filter(lacks)) {
      for (const state of lacking) {
        if (feed.next === undefined) return parcels;
        this.#put(parcels, state);
      }
    }
    return parcels;
  }

  #put(parcels: Map<WorkerState, Dialogue[]>, state: WorkerState): void {
    const dialogue = this.#options.feed.take();
    if (dialogue === undefined) return;
    const parcel = parcels.get(state);
    if (parcel === undefined) parcels.set(state, [dialogue]);
    else parcel.push(dialogue);
  }

  #progress(): Omit<LiveLoad, "server"> {
    const { warmUp } = this.#options;
    const counters = this.#live.at(Math.max(0, this.#options.clock.now()));
    const isWarmUp =
      "seconds" in warmUp ? counters.seconds < warmUp.seconds : counters.completed + counters.failed < warmUp.requests;
    return { ...counters, isWarmUp, isDraining: this.#isPlanComplete };
  }

  #client(): ClientLoad {
    const loads = this.#states.flatMap(({ load }) => (load === undefined ? [] : [load]));
    return {
      workers: this.#states.length,
      busyShare: Math.max(0, ...loads.map(({ busyShare }) => busyShare)),
      busySeconds: loads.reduce((sum, { busySeconds }) => sum + busySeconds, 0),
      loopDelayP99Seconds: Math.max(0, ...loads.map(({ loopDelayP99Seconds }) => loopDelayP99Seconds)),
    };
  }
}

/** Of so many, divided as evenly as whole numbers allow. */
function share(count: number, parts: number, part: number): number {
  return Math.floor(((part + 1) * count) / parts) - Math.floor((part * count) / parts);
}
