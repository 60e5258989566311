import type { SamplingParameters } from "@kvant/kernels";

/**
 * waiting: not admitted; its pages, if it had any, were given back or wait in host memory. running: has a row slot and pages.
 * leaving: finished, cancelled or preempted, but a step in flight still includes it; it is scheduled no more. gone: slot and
 * pages are free.
 */
export type SequencePhase = "waiting" | "running" | "leaving" | "gone";

export interface SequenceOptions {
  readonly id: number;
  readonly promptIds: Int32Array;
  readonly maxTokens: number;
  readonly sampling: SamplingParameters;
  readonly priority: number;
  readonly salt: string | undefined;
  /** The sibling (n > 1) whose prompt pages this sequence forks; undefined: prefills on its own. */
  readonly parent: Sequence | undefined;
}

/** Tokens that a sequence has room for when its first output comes. */
const leastCapacity = 64;

/** One completion in the scheduler's eyes: known tokens, how far they are computed, what is in flight. */
export class Sequence {
  readonly id: number;
  readonly promptIds: Int32Array;
  readonly maxTokens: number;
  readonly sampling: SamplingParameters;
  readonly priority: number;
  readonly salt: string | undefined;
  readonly parent: Sequence | undefined;

  phase: SequencePhase = "waiting";
  /** Row slot while running or leaving; -1 otherwise. */
  slot = -1;
  /** Positions whose K and V are computed by settled or submitted steps. */
  submittedTokens = 0;
  /** The same, settled steps only. */
  settledTokens = 0;
  /** Tokens sampled by steps in flight: their ids are not known here yet. */
  pendingSamples = 0;
  /** Steps in flight that include this sequence. */
  inFlight = 0;
  /** Set while leaving because of a preemption: goes back to the queue instead of ending. */
  preempted = false;
  /** Whether its pages wait in host memory (only while waiting): `settledTokens` tokens need not be computed again. */
  isSwapped = false;
  /** Whether the next step must reset the row slot. */
  needsRowUpdate = true;
  /** Prompt tokens found in the prefix cache at the first admission; undefined before it. */
  cachedTokens: number | undefined;
  /** Table entries to upload with the next step, `[group, index, page]` triples. */
  readonly pendingAppends: number[] = [];
  /** Page copies to run before the next step, `[group, from, to]` triples. */
  readonly pendingCopies: number[] = [];

  /**
   * `[capacity]` the known ids from position 0, the first `knownTokens` filled in: the prompt itself until there is an output.
   * Beside the heap, where nothing has to follow it as it grows old.
   */
  #ids: Int32Array;
  #knownTokens: number;

  constructor(options: SequenceOptions) {
    this.id = options.id;
    this.promptIds = options.promptIds;
    this.maxTokens = options.maxTokens;
    this.sampling = options.sampling;
    this.priority = options.priority;
    this.salt = options.salt;
    this.parent = options.parent;
    this.#ids = options.promptIds;
    this.#knownTokens = options.promptIds.length;
  }

  /** Tokens whose ids are known: prompt and settled outputs. */
  get knownTokens(): number {
    return this.#knownTokens;
  }

  get outputCount(): number {
    return this.#knownTokens - this.promptIds.length;
  }

  /** `[outputCount]` settled output tokens, as a view. */
  get outputIds(): Int32Array {
    return this.#ids.subarray(this.promptIds.length, this.#knownTokens);
  }

  addOutput(tokenId: number): void {
    if (this.#knownTokens === this.#ids.length) {
      const most = this.promptIds.length + this.maxTokens;
      const grown = new Int32Array(Math.min(most, Math.max(2 * this.#ids.length, leastCapacity)));
      grown.set(this.#ids);
      this.#ids = grown;
    }
    this.#ids[this.#knownTokens++] = tokenId;
  }

  /** Tokens that exist, sampled ones in flight included. */
  get totalTokens(): number {
    return this.knownTokens + this.pendingSamples;
  }

  /** Tokens not yet computed by a submitted step; at least 1 while it may go on (the last token is never computed ahead). */
  get uncomputedTokens(): number {
    return this.totalTokens - this.submittedTokens;
  }

  /** Whether submitted steps will produce all the tokens that it may have. */
  get isExhausted(): boolean {
    return this.outputCount + this.pendingSamples >= this.maxTokens;
  }

  /** Whether only its newest token is left to compute. */
  get isDecoding(): boolean {
    return this.uncomputedTokens === 1 && this.totalTokens > this.promptIds.length;
  }

  /** The id at a position; undefined for a token sampled in flight. */
  tokenAt(position: number): number | undefined {
    return position < this.#knownTokens ? this.#ids[position] : undefined;
  }

  /** `[count]` the known ids from position 0, as a view. */
  knownIds(count = this.knownTokens): Int32Array {
    return this.#ids.subarray(0, count);
  }
}
