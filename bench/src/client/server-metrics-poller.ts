import type { LoadClock } from "./load-clock.ts";
import type { ServerSample } from "./load-run.ts";
import { serverFigures } from "./server-figures.ts";

const pollMilliseconds = 1000;
/** A busy server may answer late; one that does not answer must not hold up the next reading for ever. */
const patienceMilliseconds = 5000;
/** Four hours of seconds; beyond, every other sample goes. */
const mostSamples = 14_400;

export interface PollerOptions {
  readonly url: string;
  readonly apiKey?: string;
  readonly clock: LoadClock;
}

/** Reads a server's metrics once a second beside a load. */
export class ServerMetricsPoller {
  readonly #options: PollerOptions;
  readonly #stop = new AbortController();
  #samples: ServerSample[] = [];
  #failure: string | undefined;
  #polling: Promise<void> = Promise.resolve();

  constructor(options: PollerOptions) {
    this.#options = options;
  }

  get latest(): ServerSample | undefined {
    return this.#samples.at(-1);
  }

  get samples(): readonly ServerSample[] {
    return this.#samples;
  }

  /** Why the last reading that failed did. */
  get failure(): string | undefined {
    return this.#failure;
  }

  start(): void {
    this.#polling = this.#poll();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#polling;
  }

  async #poll(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const startedAt = performance.now();
      await this.#read();
      await waited(Math.max(0, pollMilliseconds - (performance.now() - startedAt)), signal);
    }
  }

  async #read(): Promise<void> {
    const { url, apiKey, clock } = this.#options;
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(patienceMilliseconds)]);
      const response = await fetch(url, {
        signal,
        headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`status ${response.status}`);
      this.#add({ at: Math.max(0, clock.now()), ...serverFigures(text) });
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#failure = sentenceOf(error);
    }
  }

  #add(sample: ServerSample): void {
    this.#samples.push(sample);
    if (this.#samples.length > mostSamples) this.#samples = this.#samples.filter((_, i) => i % 2 === 0);
  }
}

/** `fetch` says "fetch failed" and hides why in its cause. */
function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message || error.message : error.message;
}

function waited(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", settle);
      resolve();
    };
    const timer = setTimeout(settle, milliseconds);
    signal.addEventListener("abort", settle);
    if (signal.aborted) settle();
  });
}
