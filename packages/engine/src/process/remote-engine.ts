import type { ChildProcess } from "node:child_process";
import { KvantError } from "@kvant/core";
import type {
  Engine,
  EngineObserver,
  EngineState,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  GenerateStream,
  ModelInfo,
  PromptInput,
} from "../engine.ts";
import type { EngineOptions, LoadProgress } from "../engine-options.ts";
import { EventStream } from "../event-stream.ts";
import { defaultEntry, listen, startChild, tell } from "./engine-child.ts";
import { deserializeError, type FromEngine } from "./protocol.ts";
import { RestartDelay } from "./restart-delay.ts";
import { readTokenNews } from "./token-news.ts";

export interface EngineProcessHooks {
  readonly onProgress?: (progress: LoadProgress) => void;
  /** The engine process died or could not load; `error` says why. */
  readonly onFault?: (error: KvantError) => void;
  /** The process entry; default: the one of this package. For bundles. */
  readonly entry?: string;
}

/** An engine process that has not ended this long after it was asked to is killed. */
const closePatienceMilliseconds = 5000;

const noStats: EngineStats = {
  running: 0,
  waiting: 0,
  pages: { free: 0, cached: 0, used: 0 },
  hostPages: { free: 0, used: 0 },
  promptTokens: 0,
  generationTokens: 0,
  prefixQueryTokens: 0,
  prefixHitTokens: 0,
  preemptions: { recompute: 0, swap: 0 },
  saturations: 0,
  residentBytes: 0,
  restarts: 0,
};

interface PendingReply {
  resolve(message: FromEngine): void;
  reject(error: unknown): void;
}

/**
 * Starts an engine in a child process of its own and resolves when it is ready. Should the process die later, running
 * requests end with ENGINE_DIED and it is started again.
 * @throws what `createEngine` throws, when the first start fails.
 */
export async function startEngineProcess(
  options: EngineOptions,
  hooks: EngineProcessHooks = {},
): Promise<RemoteEngine> {
  const engine = new RemoteEngine(options, hooks);
  await engine.firstStart;
  return engine;
}

/** The parent's side of an engine process. */
export class RemoteEngine implements Engine {
  /** Settles with the first start. */
  readonly firstStart: Promise<void>;
  readonly #options: EngineOptions;
  readonly #hooks: EngineProcessHooks;
  readonly #observers = new Set<EngineObserver>();
  readonly #streams = new Map<number, EventStream>();
  /** By request: takes the listener off the caller's signal, which may outlive the request. */
  readonly #forgets = new Map<number, () => void>();
  readonly #replies = new Map<number, PendingReply>();
  readonly #idle = new Set<() => void>();
  readonly #pushTo = (id: number, event: GenerateEvent): void => this.#streams.get(id)?.push(event);
  #child: ChildProcess;
  #state: EngineState = "starting";
  #model: ModelInfo | undefined;
  #stats = noStats;
  #restarts = 0;
  readonly #restartDelay = new RestartDelay();
  #closing: Promise<void> | undefined;
  #nextId = 1;
  #lastFatal: KvantError | undefined;
  #onFirstReady: () => void = () => undefined;
  #onFirstFailure: (error: unknown) => void = () => undefined;

  constructor(options: EngineOptions, hooks: EngineProcessHooks = {}) {
    this.#options = options;
    this.#hooks = hooks;
    this.firstStart = new Promise((resolve, reject) => {
      this.#onFirstReady = resolve;
      this.#onFirstFailure = reject;
    });
    // Whoever does not wait for the first start learns of its failure from the state.
    this.firstStart.catch(() => undefined);
    this.#child = this.#start();
  }

  get model(): ModelInfo {
    if (this.#model === undefined) throw new KvantError("ENGINE_NOT_READY", "the engine is still loading the model");
    return this.#model;
  }

  get state(): EngineState {
    return this.#state;
  }

  /** Process id of the engine process, for operators and fault tests. */
  get processId(): number | undefined {
    return this.#child.pid;
  }

  generate(request: GenerateRequest, signal?: AbortSignal): GenerateStream {
    const id = this.#nextId++;
    const abort = (): void => {
      leave();
      stream.fail(new KvantError("CANCELLED", "the request was cancelled"));
    };
    const leave = (): void => {
      if (this.#endStream(id)) tell(this.#child, { type: "cancel", id });
      this.#checkIdle();
    };
    const stream = new EventStream(leave);
    try {
      this.#checkReady();
      if (signal?.aborted) throw new KvantError("CANCELLED", "the request was cancelled before it started");
      this.#streams.set(id, stream);
      this.#forgets.set(id, () => signal?.removeEventListener("abort", abort));
      signal?.addEventListener("abort", abort, { once: true });
      tell(this.#child, { type: "generate", id, request });
    } catch (error) {
      this.#endStream(id);
      stream.fail(error);
    }
    return stream;
  }

  async tokenize(
    prompt: PromptInput,
    options: { readonly addSpecialTokens?: boolean } = {},
  ): Promise<readonly number[]> {
    const id = this.#nextId++;
    const reply = await this.#ask(id, {
      type: "tokenize",
      id,
      prompt,
      addSpecialTokens: options.addSpecialTokens ?? true,
    });
    return reply.type === "tokens" ? reply.tokenIds : [];
  }

  async detokenize(tokenIds: readonly number[]): Promise<string> {
    const id = this.#nextId++;
    const reply = await this.#ask(id, { type: "detokenize", id, tokenIds });
    return reply.type === "text" ? reply.text : "";
  }

  stats(): EngineStats {
    return { ...this.#stats, restarts: this.#restarts };
  }

  observe(observer: EngineObserver): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  async drain(): Promise<void> {
    if (this.#state !== "closed") this.#setState("draining");
    if (this.#streams.size > 0) await new Promise<void>((resolve) => this.#idle.add(resolve));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#setState("closed");
    this.#failAll(new KvantError("SHUTTING_DOWN", "the engine was closed while the request was running"));
    this.#onFirstFailure(new KvantError("SHUTTING_DOWN", "the engine was closed while it loaded"));
    const child = this.#child;
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await new Promise<void>((resolve) => {
      const patience = setTimeout(() => child.kill("SIGKILL"), closePatienceMilliseconds);
      child.once("exit", () => {
        clearTimeout(patience);
        resolve();
      });
      tell(child, { type: "close" });
    });
  }

  #start(): ChildProcess {
    const child = startChild(this.#hooks.entry ?? defaultEntry);
    listen(
      child,
      (message) => this.#onMessage(message),
      (reason) => this.#onExit(reason),
    );
    tell(child, { type: "open", options: this.#options });
    return child;
  }

  #checkReady(): void {
    if (this.#state === "ready") return;
    const isEnding = this.#state === "draining" || this.#state === "closed";
    const code = isEnding ? "SHUTTING_DOWN" : "ENGINE_NOT_READY";
    throw new KvantError(code, `the engine is ${this.#state} and takes no requests`);
  }

  async #ask(id: number, message: Parameters<typeof tell>[1]): Promise<FromEngine> {
    this.#checkReady();
    return new Promise((resolve, reject) => {
      this.#replies.set(id, { resolve, reject });
      tell(this.#child, message);
    });
  }

  #onMessage(message: FromEngine): void {
    switch (message.type) {
      case "progress":
        this.#hooks.onProgress?.(message.progress);
        break;
      case "ready":
        this.#model = message.model;
        this.#restartDelay.ready(Date.now());
        if (this.#state === "starting" || this.#state === "restarting") this.#setState("ready");
        this.#onFirstReady();
        break;
      case "news":
        this.#onNews(message);
        break;
      case "tokens":
      case "text":
        this.#replies.get(message.id)?.resolve(message);
        this.#replies.delete(message.id);
        break;
      case "refused":
        this.#replies.get(message.id)?.reject(deserializeError(message.error));
        this.#replies.delete(message.id);
        break;
      case "fatal":
        this.#lastFatal = deserializeError(message.error);
        break;
      default:
        message satisfies never;
    }
  }

  #onNews({ requests, tokens, steps, stats }: Extract<FromEngine, { type: "news" }>): void {
    if (stats !== undefined) this.#stats = stats;
    if (tokens !== undefined) readTokenNews(tokens, this.#pushTo);
    for (const { id, events, outcome } of requests) {
      const stream = this.#streams.get(id);
      if (stream === undefined) continue;
      for (const event of events) stream.push(event);
      if (outcome === "running") continue;
      this.#endStream(id);
      if (outcome === "end") stream.end();
      else stream.fail(deserializeError(outcome));
    }
    for (const step of steps) for (const observer of this.#observers) observer.step?.(step);
    this.#checkIdle();
  }

  #onExit(reason: string): void {
    const cause = this.#lastFatal;
    this.#lastFatal = undefined;
    const sentence = `the engine process ended (${reason})${cause === undefined ? "" : `: ${cause.message}`}`;
    const error = new KvantError("ENGINE_DIED", sentence, cause === undefined ? {} : { cause });
    this.#failAll(error);
    if (this.#state === "closed") return;
    if (this.#model === undefined) {
      // The first start failed: starting again would fail the same way.
      this.#setState("closed");
      this.#onFirstFailure(cause ?? error);
      return;
    }
    this.#hooks.onFault?.(error);
    // What the dead process held is gone; its counters stay for a reader that keeps them monotonic.
    const { pages, hostPages } = noStats;
    this.#stats = { ...this.#stats, running: 0, waiting: 0, pages, hostPages, residentBytes: 0 };
    if (this.#state !== "draining") this.#restart();
  }

  #restart(): void {
    this.#setState("restarting");
    this.#restarts++;
    setTimeout(() => {
      if (this.#state === "restarting") this.#child = this.#start();
    }, this.#restartDelay.died(Date.now())).unref();
  }

  /** @returns whether the stream was still open. */
  #endStream(id: number): boolean {
    this.#forgets.get(id)?.();
    this.#forgets.delete(id);
    return this.#streams.delete(id);
  }

  #failAll(error: KvantError): void {
    for (const [id, stream] of this.#streams) {
      this.#endStream(id);
      stream.fail(error);
    }
    for (const reply of this.#replies.values()) reply.reject(error);
    this.#replies.clear();
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#streams.size > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle.clear();
  }

  #setState(state: EngineState): void {
    if (this.#state === state) return;
    this.#state = state;
    for (const observer of this.#observers) observer.state?.(state);
  }
}
