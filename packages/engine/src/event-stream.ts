import type { GenerateEvent, TokenLogprob } from "./engine.ts";

type Delta = Extract<GenerateEvent, { type: "delta" }>;

/** A queued delta owns its arrays, so that merging appends to them. */
interface OpenDelta extends Delta {
  text: string;
  readonly tokenIds: number[];
  readonly logprobs: TokenLogprob[];
}

/**
 * The events of one request between an engine that pushes and a reader that pulls. A reader that is slow finds the deltas
 * of a completion merged into one, so the queue never holds more than one delta per completion between other events.
 */
export class EventStream implements AsyncIterableIterator<GenerateEvent> {
  readonly #queue: (Exclude<GenerateEvent, Delta> | OpenDelta)[] = [];
  readonly #onLeave: () => void;
  #ended = false;
  #error: unknown;
  #wakes: (() => void)[] = [];

  /** @param onLeave called once when the reader goes away before the end. */
  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  push(event: GenerateEvent): void {
    if (this.#ended) return;
    if (event.type === "delta") this.#pushDelta(event);
    else this.#queue.push(event);
    this.#notify();
  }

  /** After the last event. */
  end(): void {
    this.#ended = true;
    this.#notify();
  }

  /** Queued events are still handed out before the error is thrown. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#error = error;
    this.end();
  }

  async next(): Promise<IteratorResult<GenerateEvent>> {
    for (;;) {
      const event = this.#queue.shift();
      if (event !== undefined) return { done: false, value: event };
      if (this.#error !== undefined) {
        const error = this.#error;
        this.#error = undefined;
        throw error;
      }
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#wakes.push(resolve);
      });
    }
  }

  async return(): Promise<IteratorResult<GenerateEvent>> {
    if (!this.#ended) this.#onLeave();
    this.#queue.length = 0;
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #notify(): void {
    const wakes = this.#wakes;
    this.#wakes = [];
    for (const wake of wakes) wake();
  }

  #pushDelta(event: Delta): void {
    const open = this.#openDelta(event.index);
    if (open === undefined) {
      this.#queue.push({ ...event, tokenIds: [...event.tokenIds], logprobs: [...event.logprobs] });
      return;
    }
    open.text += event.text;
    open.tokenIds.push(...event.tokenIds);
    open.logprobs.push(...event.logprobs);
  }

  /** The queued delta of a completion, unless another event of that completion follows it. */
  #openDelta(index: number): OpenDelta | undefined {
    for (let i = this.#queue.length - 1; i >= 0; i--) {
      const event = this.#queue[i]!;
      if (event.type === "done") return undefined;
      if (event.index === index) return event.type === "delta" ? event : undefined;
    }
    return undefined;
  }
}
