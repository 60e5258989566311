import type { LoadClock } from "./load-clock.ts";

interface Due {
  readonly at: number;
  readonly run: () => void;
}

/** A turn of the event loop that took less was spent waiting, not working. */
const idleTurnSeconds = 50e-6;

/**
 * Runs what is due at moments of the load's clock. Timers of Node keep whole milliseconds and are up to two late, which would
 * stand in every latency: so they wake a little early, and the loop turns until the moment has come.
 */
export class DueQueue {
  readonly #clock: LoadClock;
  /** A binary heap, the earliest first; of equal moments, any. */
  readonly #heap: Due[] = [];
  #timer: NodeJS.Timeout | undefined;
  #turning: NodeJS.Immediate | undefined;
  #turnedAt = 0;
  #idleSeconds = 0;

  constructor(clock: LoadClock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Spent turning without anything to do; the event loop counts it as work. */
  get idleSeconds(): number {
    return this.#idleSeconds;
  }

  /** Never runs before `add` has returned. */
  add(at: number, run: () => void): void {
    const heap = this.#heap;
    heap.push({ at, run });
    for (let child = heap.length - 1; child > 0; ) {
      const parent = (child - 1) >> 1;
      if (heap[parent]!.at <= heap[child]!.at) break;
      this.#swap(parent, child);
      child = parent;
    }
    if (heap[0]!.run === run) this.#wait();
  }

  clear(): void {
    this.#heap.length = 0;
    this.#stopWaiting();
  }

  #wait(): void {
    this.#stopWaiting();
    const first = this.#heap[0];
    if (first === undefined) return;
    const milliseconds = Math.floor((first.at - this.#clock.now()) * 1000) - 1;
    if (milliseconds >= 1) {
      this.#timer = setTimeout(() => this.#wait(), Math.min(milliseconds, 2 ** 31 - 1));
    } else {
      this.#turnedAt = this.#clock.now();
      this.#turn();
    }
  }

  #turn(): void {
    this.#turning = setImmediate(() => {
      const now = this.#clock.now();
      if (now - this.#turnedAt < idleTurnSeconds) this.#idleSeconds += now - this.#turnedAt;
      this.#turnedAt = now;
      if (this.#heap[0]!.at > now) return this.#turn();
      this.#turning = undefined;
      while (this.#heap.length > 0 && this.#heap[0]!.at <= now) this.#take().run();
      this.#wait();
    });
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#turning);
    this.#timer = undefined;
    this.#turning = undefined;
  }

  #take(): Due {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    heap[0] = last;
    for (let parent = 0; ; ) {
      let child = 2 * parent + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[parent]!.at <= heap[child]!.at) break;
      this.#swap(parent, child);
      parent = child;
    }
    return first;
  }

  #swap(a: number, b: number): void {
    const kept = this.#heap[a]!;
    this.#heap[a] = this.#heap[b]!;
    this.#heap[b] = kept;
  }
}
