import { setMaxListeners } from "node:events";
import { type ErrorCode, errorCode, KvantError } from "@kvant/core";
import type { Engine, GenerateEvent, GenerateRequest } from "@kvant/engine";
import { statusOf } from "./error-statuses.ts";
import type { Outcome, RequestMetrics } from "./metrics/request-metrics.ts";

/** One client request on its way through the engine: one or more prompts that end together. */
export interface Generation {
  /** Fires when the client leaves or the server gives up waiting for the request. */
  readonly signal: AbortSignal;
  /** `reason` is what readers of the request's streams get. */
  abort(reason: KvantError): void;
  /** Streams one prompt, measured, up to `done`. Throws what the engine throws, or the reason of an abort. */
  run(request: GenerateRequest): AsyncIterableIterator<GenerateEvent>;
  /** Aborts what still runs and leaves the gate. */
  end(): void;
}

/** The one door between the transports and the engine: counts what is inside and can be shut. */
export class GenerationGate {
  readonly #engine: Engine;
  readonly #metrics: RequestMetrics;
  readonly #inside = new Set<AbortController>();
  readonly #idleWaiters: (() => void)[] = [];
  #shut = false;

  constructor(engine: Engine, metrics: RequestMetrics) {
    this.#engine = engine;
    this.#metrics = metrics;
  }

  get isShut(): boolean {
    return this.#shut;
  }

  get insideCount(): number {
    return this.#inside.size;
  }

  /** Throws SHUTTING_DOWN once the gate is shut. */
  open(): Generation {
    if (this.#shut) throw new KvantError("SHUTTING_DOWN", "the server is draining and takes no new requests");
    const controller = new AbortController();
    // Every prompt of the request listens; Node takes more than ten listeners for a leak.
    setMaxListeners(0, controller.signal);
    this.#inside.add(controller);
    return {
      signal: controller.signal,
      abort: (reason) => controller.abort(reason),
      run: (request) => this.#measure(request, controller.signal),
      end: () => this.#leave(controller),
    };
  }

  /**
   * Refuses new requests from now on and waits for those inside; when `hurry` fires, ends them with SHUTTING_DOWN. Resolves
   * with how many it had to end. Their readers may still hold unread bytes: closing connections is the transports' part.
   */
  async empty(hurry: AbortSignal): Promise<number> {
    this.#shut = true;
    await Promise.race([this.#idle(), aborted(hurry)]);
    const ended = this.#inside.size;
    for (const controller of this.#inside) {
      controller.abort(new KvantError("SHUTTING_DOWN", "the server shut down before the request could finish"));
    }
    return ended;
  }

  #idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#inside.size === 0) resolve();
      else this.#idleWaiters.push(resolve);
    });
  }

  #leave(controller: AbortController): void {
    controller.abort(new KvantError("CANCELLED", "the request has ended"));
    if (!this.#inside.delete(controller) || this.#inside.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #measure(request: GenerateRequest, signal: AbortSignal): AsyncIterableIterator<GenerateEvent> {
    return new MeasuredStream(this.#engine.generate(request, signal), signal, this.#metrics);
  }
}

/** The events of one prompt on their way to a transport. A generator would do; this passes a token on with half the promises. */
class MeasuredStream implements AsyncIterableIterator<GenerateEvent> {
  readonly #events: AsyncIterator<GenerateEvent>;
  readonly #signal: AbortSignal;
  readonly #metrics: RequestMetrics;
  readonly #arrived = performance.now();
  readonly #lastToken = new Map<number, number>();
  #outcome: Outcome = "cancelled";
  #isOver = false;

  constructor(events: AsyncIterable<GenerateEvent>, signal: AbortSignal, metrics: RequestMetrics) {
    this.#events = events[Symbol.asyncIterator]();
    this.#signal = signal;
    this.#metrics = metrics;
  }

  next(): Promise<IteratorResult<GenerateEvent>> {
    return this.#isOver ? Promise.resolve(over) : this.#events.next().then(this.#pass, this.#fail);
  }

  async return(): Promise<IteratorResult<GenerateEvent>> {
    if (this.#isOver) return over;
    this.#end();
    await this.#events.return?.();
    return over;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  readonly #pass = (result: IteratorResult<GenerateEvent>): IteratorResult<GenerateEvent> => {
    if (result.done !== true) {
      this.#observe(result.value);
      return result;
    }
    // An engine may answer an abort by ending the stream; the reader must not take that for the end of the text.
    if (this.#outcome !== "completed" && this.#signal.aborted) return this.#fail(this.#signal.reason);
    this.#end();
    return result;
  };

  readonly #fail = (error: unknown): never => {
    const { aborted, reason } = this.#signal;
    this.#outcome = aborted ? "cancelled" : outcomeOf(errorCode(error), this.#lastToken.size > 0);
    this.#end();
    throw aborted ? reason : error;
  };

  #observe(event: GenerateEvent): void {
    if (event.type === "delta" && event.tokenIds.length > 0) {
      const now = performance.now();
      const previous = this.#lastToken.get(event.index);
      if (this.#lastToken.size === 0) this.#metrics.firstToken((now - this.#arrived) / 1000);
      if (previous !== undefined) this.#metrics.laterTokens((now - previous) / 1000, event.tokenIds.length);
      this.#lastToken.set(event.index, now);
    } else if (event.type === "finish") {
      this.#metrics.finished(event.reason);
    } else if (event.type === "done") {
      this.#metrics.timed(event.timings);
      this.#outcome = "completed";
    }
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#metrics.ended(this.#outcome, (performance.now() - this.#arrived) / 1000);
  }
}

const over: IteratorResult<GenerateEvent> = { done: true, value: undefined };

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function outcomeOf(code: ErrorCode, begun: boolean): Outcome {
  if (code === "CANCELLED") return "cancelled";
  if (begun) return "failed";
  const { http } = statusOf(code);
  return http < 500 || code === "SHUTTING_DOWN" || code === "ENGINE_NOT_READY" ? "refused" : "failed";
}
