import { KvantError } from "@kvant/core";
import { swapDirections } from "@kvant/kernels";
import type { Extension, KvManager, PageSwap } from "@kvant/kvcache";
import type { Sequence } from "./sequence.ts";

export interface SchedulerOptions {
  readonly kv: KvManager;
  /** Row slots: sequences that run at once. */
  readonly maxRows: number;
  /** Tokens in one step, decode and prefill together. */
  readonly maxStepTokens: number;
  /** Tokens per KV page: the prefix index is told of computed tokens only when a page fills. */
  readonly pageTokens: number;
}

export interface BatchRow {
  readonly sequence: Sequence;
  /** Position of the row's first token. */
  readonly start: number;
  readonly tokenCount: number;
  /** Whether the row samples a token: it reaches the end of the sequence's tokens. */
  readonly samples: boolean;
}

export interface Batch {
  readonly rows: readonly BatchRow[];
  readonly tokenCount: number;
  readonly kind: "prefill" | "decode" | "mixed";
  /** Pages to move to and from host memory before the step, in order: `[group, page, host page, direction]` each. */
  readonly pageSwaps: readonly number[];
}

/**
 * Decides what each step computes: continuous batching with chunked prefill. Every step first takes one token of every
 * decoding sequence, then fills what is left of the token budget with prompt chunks by priority, among equals running
 * sequences before waiting ones. When pages run out the youngest sequence of the lowest priority gives its pages back: they
 * wait in host memory while there is room, otherwise it is computed again later.
 *
 * Plain and synchronous: `next` looks at the state and changes it as if the step had been submitted; `settle` is told the
 * outcome. Steps settle in the order of `next`. A sequence's pages and slot are freed only when no step in flight has it.
 */
export class Scheduler {
  readonly #kv: KvManager;
  readonly #maxStepTokens: number;
  readonly #pageTokens: number;
  readonly #freeSlots: number[];
  /** In order of priority, then arrival. */
  readonly #waiting: Sequence[] = [];
  /** In order of admission. */
  readonly #running: Sequence[] = [];
  readonly #leaving = new Set<Sequence>();
  /** Swaps that go with the next step. Its rows are the first that can write the pages taken out or read those brought in. */
  #pendingSwaps: number[] = [];
  readonly #preemptions = { recompute: 0, swap: 0 };

  constructor({ kv, maxRows, maxStepTokens, pageTokens }: SchedulerOptions) {
    if (maxStepTokens < 1 || maxRows < 1) {
      throw new KvantError(
        "INVALID_ARGUMENT",
        `maxRows is ${maxRows}, maxStepTokens ${maxStepTokens}; both must be at least 1`,
      );
    }
    this.#kv = kv;
    this.#maxStepTokens = maxStepTokens;
    this.#pageTokens = pageTokens;
    // Popped from the end: slot 0 first.
    this.#freeSlots = Array.from({ length: maxRows }, (_, i) => maxRows - 1 - i);
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Known tokens of the waiting sequences. */
  get waitingTokens(): number {
    return this.#waiting.reduce((sum, { knownTokens }) => sum + knownTokens, 0);
  }

  get runningCount(): number {
    return this.#running.length;
  }

  /** Preempted sequences by how they come back. */
  get preemptions(): { readonly recompute: number; readonly swap: number } {
    return { ...this.#preemptions };
  }

  /** Whether nothing waits, runs or is in flight. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#running.length === 0 && this.#leaving.size === 0;
  }

  add(sequence: Sequence): void {
    this.#enqueue(sequence, false);
  }

  /** Ends a sequence now (stop, length, cancel): scheduled no more, freed when no step in flight includes it. */
  finish(sequence: Sequence): void {
    if (sequence.phase === "gone") return;
    sequence.preempted = false;
    if (sequence.phase === "waiting") {
      remove(this.#waiting, sequence);
      if (sequence.isSwapped) this.#kv.release(sequence.id);
      sequence.isSwapped = false;
      sequence.phase = "gone";
      return;
    }
    if (sequence.phase === "running") this.#leave(sequence);
    this.#freeIfUnused(sequence);
  }

  /** The next step, or undefined when there is nothing to compute now (a step in flight may change that). */
  next(): Batch | undefined {
    const rows: BatchRow[] = [];
    let budget = this.#maxStepTokens;
    const schedule = (sequence: Sequence, tokenCount: number): void => {
      rows.push(this.#take(sequence, tokenCount));
      budget -= tokenCount;
    };

    for (const sequence of [...this.#running]) {
      if (budget === 0) break;
      if (sequence.phase !== "running" || !sequence.isDecoding || sequence.isExhausted) continue;
      if (this.#makeRoom(sequence, 1)) schedule(sequence, 1);
    }
    // Strictly in order: letting a short prompt pass a long one would starve the long one.
    const admitBefore = (priority: number): void => {
      while (budget > 0 && this.#waiting.length > 0) {
        const sequence = this.#waiting[0]!;
        if (sequence.priority >= priority || !this.#admit(sequence, rows)) break;
        const tokenCount = Math.min(budget, sequence.uncomputedTokens);
        if (this.#extend(sequence, tokenCount)) schedule(sequence, tokenCount);
      }
    };
    const prefilling = this.#running.filter((sequence) => !sequence.isDecoding && !sequence.isExhausted);
    for (const sequence of prefilling.sort((a, b) => a.priority - b.priority)) {
      admitBefore(sequence.priority);
      if (budget === 0) break;
      const tokenCount = Math.min(budget, sequence.uncomputedTokens);
      if (sequence.phase === "running" && tokenCount > 0 && this.#makeRoom(sequence, tokenCount)) {
        schedule(sequence, tokenCount);
      }
    }
    admitBefore(Number.POSITIVE_INFINITY);
    if (rows.length === 0) return undefined;
    const pageSwaps = this.#pendingSwaps;
    this.#pendingSwaps = [];
    return { rows, tokenCount: this.#maxStepTokens - budget, kind: kindOf(rows), pageSwaps };
  }

  /**
   * A step has ended. `sampledIds[i]` belongs to `batch.rows[i]` and is read for rows that sample.
   * @param accept is told of each row whose sampled token counts, and may finish sequences; tokens of sequences that have left
   * meanwhile are dropped.
   */
  settle(
    batch: Batch,
    sampledIds: ArrayLike<number>,
    accept: (sequence: Sequence, row: number, tokenId: number) => void,
  ): void {
    for (let i = 0; i < batch.rows.length; i++) {
      const { sequence, start, tokenCount, samples } = batch.rows[i]!;
      sequence.inFlight--;
      if (samples) sequence.pendingSamples--;
      const counts = sequence.phase === "running" || sequence.preempted;
      if (counts) {
        const settledBefore = sequence.settledTokens;
        sequence.settledTokens = start + tokenCount;
        if (samples) sequence.addOutput(sampledIds[i]!);
        if (Math.floor(settledBefore / this.#pageTokens) < Math.floor(sequence.settledTokens / this.#pageTokens)) {
          this.#kv.commit(sequence.id, sequence.knownIds(sequence.settledTokens));
        }
        this.#kv.releaseWindow(sequence.id, sequence.settledTokens);
      }
      this.#freeIfUnused(sequence);
      if (counts && samples) accept(sequence, i, sampledIds[i]!);
    }
  }

  /** Ends everything at once, for a backend that has failed. No step may be in flight. */
  abandon(): void {
    for (const sequence of [...this.#waiting, ...this.#running, ...this.#leaving]) {
      sequence.inFlight = 0;
      sequence.pendingSamples = 0;
      this.finish(sequence);
    }
    this.#pendingSwaps = [];
  }

  #take(sequence: Sequence, tokenCount: number): BatchRow {
    const start = sequence.submittedTokens;
    sequence.submittedTokens += tokenCount;
    sequence.inFlight++;
    const samples = sequence.submittedTokens === sequence.totalTokens;
    if (samples) sequence.pendingSamples++;
    return { sequence, start, tokenCount, samples };
  }

  #admit(sequence: Sequence, rows: readonly BatchRow[]): boolean {
    const { parent } = sequence;
    if (this.#freeSlots.length === 0) return false;
    if (sequence.isSwapped) return this.#swapIn(sequence, rows);
    // A fork waits until its parent's prompt is on its way; should the parent be gone, the prefix cache has the pages.
    // Once the parent has settled an output its window may have moved past pages that the fork needs.
    const forks =
      parent !== undefined && parent.phase === "running" && parent.outputCount === 0 && sequence.outputCount === 0;
    if (forks && !isPromptSubmitted(parent, rows)) return false;
    if (forks) {
      const { tokenCount, appends } = this.#kv.fork(parent.id, sequence.id, sequence.promptIds.length - 1);
      // Its first write copies the page that it shares: without a page for that it would only be preempted again.
      const written = this.#kv.extend(sequence.id, tokenCount + 1);
      if (written === undefined) {
        this.#kv.release(sequence.id);
        return false;
      }
      this.#start(sequence, tokenCount, appends);
      this.#queuePages(sequence, written);
      return true;
    }
    const known = sequence.knownIds();
    const admission = this.#kv.admit(sequence.id, known, sequence.salt === undefined ? {} : { salt: sequence.salt });
    if (admission === undefined) return false;
    this.#start(sequence, admission.cachedTokens, admission.appends);
    return true;
  }

  /** Needs all its pages at once, and one for its next token. */
  #swapIn(sequence: Sequence, rows: readonly BatchRow[]): boolean {
    // Swaps run before page copies: none may come into a page that a copy of this step still has to read.
    if (rows.some((row) => row.sequence.pendingCopies.length > 0)) return false;
    const swapIn = this.#kv.swapIn(sequence.id, sequence.knownTokens);
    if (swapIn === undefined) return false;
    this.#queueSwaps(swapIn.swaps, swapDirections.in);
    sequence.isSwapped = false;
    this.#start(sequence, sequence.settledTokens, swapIn.appends);
    return true;
  }

  #start(
    sequence: Sequence,
    cachedTokens: number,
    appends: readonly { group: number; index: number; page: number }[],
  ): void {
    remove(this.#waiting, sequence);
    this.#running.push(sequence);
    sequence.phase = "running";
    sequence.slot = this.#freeSlots.pop()!;
    sequence.needsRowUpdate = true;
    sequence.submittedTokens = cachedTokens;
    sequence.settledTokens = cachedTokens;
    sequence.cachedTokens ??= cachedTokens;
    for (const { group, index, page } of appends) sequence.pendingAppends.push(group, index, page);
  }

  #extend(sequence: Sequence, tokenCount: number): boolean {
    const extension = this.#kv.extend(sequence.id, sequence.submittedTokens + tokenCount);
    if (extension === undefined) return false;
    this.#queuePages(sequence, extension);
    return true;
  }

  #queuePages(sequence: Sequence, { appends, copies }: Extension): void {
    for (const { group, index, page } of appends) sequence.pendingAppends.push(group, index, page);
    for (const { group, from, to } of copies) sequence.pendingCopies.push(group, from, to);
  }

  #queueSwaps(swaps: readonly PageSwap[], direction: number): void {
    for (const { group, page, hostPage } of swaps) this.#pendingSwaps.push(group, page, hostPage, direction);
  }

  /** Extends; preempts others, youngest of the lowest priority first, while there is no room. */
  #makeRoom(sequence: Sequence, tokenCount: number): boolean {
    while (!this.#extend(sequence, tokenCount)) {
      const victim = this.#victim();
      // Pages of a victim with a step in flight come free when that step settles; until then this sequence waits too.
      if (victim === undefined) return false;
      this.#preempt(victim);
      if (victim === sequence || victim.phase === "leaving") return false;
    }
    return true;
  }

  /** undefined: somebody is already on the way out, or nobody but the last one is left. */
  #victim(): Sequence | undefined {
    for (const sequence of this.#leaving) if (sequence.inFlight > 0) return undefined;
    if (this.#running.length <= 1) return undefined;
    let victim: Sequence | undefined;
    for (const sequence of this.#running) {
      const isWorse =
        victim === undefined ||
        sequence.priority > victim.priority ||
        (sequence.priority === victim.priority && sequence.id > victim.id);
      if (isWorse) victim = sequence;
    }
    return victim;
  }

  #preempt(sequence: Sequence): void {
    sequence.preempted = true;
    this.#leave(sequence);
    this.#freeIfUnused(sequence);
  }

  #leave(sequence: Sequence): void {
    remove(this.#running, sequence);
    this.#leaving.add(sequence);
    sequence.phase = "leaving";
  }

  #freeIfUnused(sequence: Sequence): void {
    if (sequence.phase !== "leaving" || sequence.inFlight > 0) return;
    this.#leaving.delete(sequence);
    sequence.isSwapped = sequence.preempted && this.#swapOut(sequence);
    if (!sequence.isSwapped) this.#kv.release(sequence.id);
    this.#freeSlots.push(sequence.slot);
    sequence.slot = -1;
    sequence.pendingAppends.length = 0;
    sequence.pendingCopies.length = 0;
    if (!sequence.preempted) {
      sequence.phase = "gone";
      return;
    }
    sequence.preempted = false;
    this.#preemptions[sequence.isSwapped ? "swap" : "recompute"]++;
    if (!sequence.isSwapped) {
      sequence.submittedTokens = 0;
      sequence.settledTokens = 0;
    }
    this.#enqueue(sequence, true);
  }

  /** False when host memory has no room, or nothing is computed that would be worth it. */
  #swapOut(sequence: Sequence): boolean {
    if (sequence.settledTokens === 0) return false;
    const swaps = this.#kv.swapOut(sequence.id, sequence.settledTokens);
    if (swaps !== undefined) this.#queueSwaps(swaps, swapDirections.out);
    return swaps !== undefined;
  }

  /** A preempted sequence goes before the others of its priority: it is older than they are. */
  #enqueue(sequence: Sequence, first: boolean): void {
    sequence.phase = "waiting";
    const index = this.#waiting.findIndex(({ priority }) =>
      first ? priority >= sequence.priority : priority > sequence.priority,
    );
    this.#waiting.splice(index === -1 ? this.#waiting.length : index, 0, sequence);
  }
}

/** Whether steps before this one compute the whole prompt: a step copies pages before it writes any. */
function isPromptSubmitted({ promptIds, submittedTokens, id }: Sequence, rows: readonly BatchRow[]): boolean {
  const row = rows.find(({ sequence }) => sequence.id === id);
  return (row?.start ?? submittedTokens) >= promptIds.length;
}

function kindOf(rows: readonly BatchRow[]): Batch["kind"] {
  const decodes = rows.filter(
    ({ tokenCount, sequence, start }) => tokenCount === 1 && start >= sequence.promptIds.length,
  ).length;
  return decodes === rows.length ? "decode" : decodes === 0 ? "prefill" : "mixed";
}

function remove<T>(list: T[], item: T): void {
  const index = list.indexOf(item);
  if (index !== -1) list.splice(index, 1);
}
