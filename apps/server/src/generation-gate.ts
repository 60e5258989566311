import { setMaxListeners } from "node:events";
import { type ErrorCode, errorCode, KvantError } from "@kvant/core";
import type { Engine, EventTaker, GenerateEvent, GenerateRequest } from "@kvant/engine";
import { statusOf } from "./error-statuses.ts";
import type { Outcome, RequestMetrics } from "./metrics/request-metrics.ts";

/** One client request on its way through the engine: one or more prompts that end together. */
export interface Generation {
  /** Fires when the client leaves or the server gives up waiting for the request. */
  readonly signal: AbortSignal;
  /** `reason` is what readers of the request's streams get. */
  abort(reason: KvantError): void;
  /**
   * Runs one prompt, measured, and hands its events to the taker, up to `done`. Throws what the engine or the taker throws, or
   * the reason of an abort.
   */
  run(request: GenerateRequest, taker: EventTaker): Promise<void>;
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
      run: (request, taker) => this.#run(request, taker, controller.signal),
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

  async #run(request: GenerateRequest, taker: EventTaker, signal: AbortSignal): Promise<void> {
    const watch = new RequestWatch(this.#metrics, taker);
    try {
      await this.#engine.generate(request, signal).handTo(watch);
      // An engine may answer an abort by ending the stream; the reader must not take that for the end of the text.
      if (watch.outcome !== "completed") signal.throwIfAborted();
    } catch (error) {
      watch.outcome = signal.aborted ? "cancelled" : outcomeOf(errorCode(error), watch.hasBegun);
      throw signal.aborted ? signal.reason : error;
    } finally {
      watch.end();
    }
  }
}

/** What the metrics learn of one prompt while its events pass to their taker. */
class RequestWatch implements EventTaker {
  outcome: Outcome = "cancelled";
  readonly #metrics: RequestMetrics;
  readonly #taker: EventTaker;
  readonly #arrived: number;
  /** When the newest token came, by completion. */
  readonly #lastToken: number[] = [];

  constructor(metrics: RequestMetrics, taker: EventTaker) {
    this.#metrics = metrics;
    this.#taker = taker;
    this.#arrived = metrics.clock.now();
  }

  get hasBegun(): boolean {
    return this.#lastToken.length > 0;
  }

  take(event: GenerateEvent): Promise<void> | undefined {
    this.#see(event);
    return this.#taker.take(event);
  }

  end(): void {
    this.#metrics.ended(this.outcome, (performance.now() - this.#arrived) / 1000);
  }

  #see(event: GenerateEvent): void {
    if (event.type === "delta") {
      if (event.tokenIds.length > 0) this.#seeTokens(event.index, event.tokenIds.length);
    } else if (event.type === "finish") {
      this.#metrics.finished(event.reason);
    } else {
      this.#metrics.timed(event.timings);
      this.outcome = "completed";
    }
  }

  #seeTokens(index: number, count: number): void {
    const now = this.#metrics.clock.now();
    const previous = this.#lastToken[index];
    if (!this.hasBegun) this.#metrics.firstToken((now - this.#arrived) / 1000);
    if (previous !== undefined) this.#metrics.laterTokens((now - previous) / 1000, count);
    this.#lastToken[index] = now;
  }
}

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
