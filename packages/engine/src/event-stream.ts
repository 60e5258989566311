import type { EventTaker, GenerateEvent, GenerateStream, TokenLogprob } from "./engine.ts";

type Delta = Extract<GenerateEvent, { type: "delta" }>;

/** Deltas that have been merged. It owns its arrays, so that merging appends to them; most deltas never need it. */
class MergedDelta implements Delta {
  readonly type = "delta";
  readonly index: number;
  text: string;
  readonly tokenIds: number[];
  readonly logprobs: TokenLogprob[];

  constructor({ index, text, tokenIds, logprobs }: Delta) {
    this.index = index;
    this.text = text;
    this.tokenIds = [...tokenIds];
    this.logprobs = [...logprobs];
  }

  add({ text, tokenIds, logprobs }: Delta): void {
    this.text += text;
    this.tokenIds.push(...tokenIds);
    this.logprobs.push(...logprobs);
  }
}

interface Reader {
  resolve(result: IteratorResult<GenerateEvent>): void;
  reject(error: unknown): void;
}

/**
 * The events of one request between an engine that pushes and a reader. A reader that is slow finds the deltas of a
 * completion merged into one, so the queue never holds more than one delta per completion between other events.
 */
export class EventStream implements GenerateStream, AsyncIterableIterator<GenerateEvent> {
  readonly #queue: GenerateEvent[] = [];
  readonly #onLeave: () => void;
  #ended = false;
  #error: unknown;
  /** Readers that came before what they wait for, first come first served. */
  readonly #readers: Reader[] = [];
  /** Who reads with `handTo`. */
  #taker: EventTaker | undefined;
  /** No taker yet, or it is inside `take`, or what that returned is pending. */
  #isBusy = true;
  #settle: { resolve(): void; reject(error: unknown): void } | undefined;

  /** @param onLeave called once when the reader goes away before the end. */
  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  push(event: GenerateEvent): void {
    if (this.#ended) return;
    if (!this.#isBusy) {
      // It has taken all before.
      this.#give(event);
      this.#hand();
      return;
    }
    if (event.type === "delta") this.#pushDelta(event);
    else this.#queue.push(event);
    this.#serve();
  }

  /** After the last event. */
  end(): void {
    this.#ended = true;
    this.#serve();
  }

  /** Queued events are still handed out before the error is thrown. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#error = error;
    this.end();
  }

  next(): Promise<IteratorResult<GenerateEvent>> {
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#serve();
    });
  }

  async return(): Promise<IteratorResult<GenerateEvent>> {
    this.#leave();
    this.end();
    return { done: true, value: undefined };
  }

  handTo(taker: EventTaker): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#taker = taker;
      this.#settle = { resolve, reject };
      this.#isBusy = false;
      this.#serve();
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #leave(): void {
    if (!this.#ended) this.#onLeave();
    this.#queue.length = 0;
  }

  #serve(): void {
    if (this.#taker !== undefined) this.#hand();
    else this.#answer();
  }

  #hand(): void {
    while (!this.#isBusy && this.#queue.length > 0) this.#give(this.#queue.shift()!);
    if (this.#isBusy || !this.#ended) return;
    if (this.#error === undefined) this.#settle?.resolve();
    else this.#settle?.reject(this.#error);
  }

  #give(event: GenerateEvent): void {
    // During the call too: what it calls may push, and events stay in order.
    this.#isBusy = true;
    try {
      const caughtUp = this.#taker?.take(event);
      if (caughtUp === undefined) this.#isBusy = false;
      else
        caughtUp.then(
          () => this.#resume(),
          (error: unknown) => this.#refuse(error),
        );
    } catch (error) {
      this.#refuse(error);
    }
  }

  #resume(): void {
    this.#isBusy = false;
    this.#hand();
  }

  /** `take` has thrown: nothing more goes to it. */
  #refuse(error: unknown): void {
    this.#settle?.reject(error);
    this.#leave();
    this.#ended = true;
  }

  #answer(): void {
    while (this.#readers.length > 0) {
      const event = this.#queue.shift();
      if (event === undefined && !this.#ended) return;
      const { resolve, reject } = this.#readers.shift()!;
      if (event !== undefined) {
        resolve({ done: false, value: event });
      } else if (this.#error !== undefined) {
        reject(this.#error);
        this.#error = undefined;
      } else {
        resolve({ done: true, value: undefined });
      }
    }
  }

  #pushDelta(event: Delta): void {
    const at = this.#openDelta(event.index);
    if (at === -1) {
      this.#queue.push(event);
      return;
    }
    const open = this.#queue[at] as Delta;
    const merged = open instanceof MergedDelta ? open : new MergedDelta(open);
    merged.add(event);
    this.#queue[at] = merged;
  }

  /** Where the queued delta of a completion is, unless another event of that completion follows it; -1 for nowhere. */
  #openDelta(index: number): number {
    for (let i = this.#queue.length - 1; i >= 0; i--) {
      const event = this.#queue[i]!;
      if (event.type === "done") return -1;
      if (event.index === index) return event.type === "delta" ? i : -1;
    }
    return -1;
  }
}
