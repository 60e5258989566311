import { KvantError } from "@kvant/core";
import { type Executable, greedy, type RowUpdate, rowWants, type StepOutputs } from "@kvant/kernels";

const none = new Int32Array(0);

/** Row slot and sampling of a forward pass: nothing is drawn, so only the slot matters. */
const update: RowUpdate = {
  slot: 0,
  sampling: greedy,
  promptIds: none,
  outputIds: none,
};

export interface ForwardPassOptions {
  readonly executable: Executable;
  readonly pageTokens: number;
  /** Tokens per step. */
  readonly chunkTokens: number;
}

/**
 * Runs one sequence at a time through an executable, through the same stored pages as serving, and hands out logits or
 * scores: what `kvant logits` and `kvant eval` are made of. Uses row slot 0 and pages 1, 2, ... of every layer group.
 */
export class ForwardPass {
  readonly #executable: Executable;
  readonly #pageTokens: number;
  readonly #chunkTokens: number;

  constructor({ executable, pageTokens, chunkTokens }: ForwardPassOptions) {
    this.#executable = executable;
    this.#pageTokens = pageTokens;
    this.#chunkTokens = chunkTokens;
  }

  /** @returns `[tokens - from, vocabSize]` the logits after every token from position `from` on. */
  async logits(tokenIds: Int32Array, from = 0): Promise<Float32Array> {
    const { vocabSize } = this.#executable.plan;
    const result = new Float32Array((tokenIds.length - from) * vocabSize);
    for await (const { start, logits } of this.logitChunks(tokenIds, from)) {
      result.set(logits, (start - from) * vocabSize);
    }
    return result;
  }

  /**
   * The same logits step by step, for vocabularies and texts whose logits together would not fit in memory. `logits`
   * `[chunk tokens, vocabSize]` begins at position `start` and is valid until the next chunk is asked for.
   */
  async *logitChunks(tokenIds: Int32Array, from = 0): AsyncGenerator<{ start: number; logits: Float32Array }> {
    for await (const { start, outputs } of this.#run(tokenIds, from, rowWants.logits)) {
      yield { start, logits: outputs.logits };
    }
  }

  /** @returns `[tokens - 1 - from]` the log-probability of each token after position `from`, given those before it. */
  async scores(tokenIds: Int32Array, from = 0): Promise<Float32Array> {
    const result = new Float32Array(Math.max(0, tokenIds.length - 1 - from));
    const targets = tokenIds.subarray(1);
    for await (const { start, outputs } of this.#run(tokenIds.subarray(0, -1), from, rowWants.score, targets)) {
      result.set(outputs.scores, start - from);
    }
    return result;
  }

  /** Chunks never span `from`, so that a chunk wants results for all of its tokens or for none; yields those that do. */
  async *#run(
    tokenIds: Int32Array,
    from: number,
    wants: number,
    targets: Int32Array = none,
  ): AsyncGenerator<{ start: number; outputs: StepOutputs }> {
    const { contextLength } = this.#executable.plan;
    if (tokenIds.length > contextLength) {
      throw new KvantError(
        "CONTEXT_EXCEEDED",
        `${tokenIds.length} tokens exceed the context of ${contextLength} tokens`,
      );
    }
    for (let start = 0; start < tokenIds.length; ) {
      const isWanted = start >= from;
      const end = Math.min(start + this.#chunkTokens, isWanted ? tokenIds.length : Math.min(from, tokenIds.length));
      const outputs = await this.#executable.submit({
        rowSlots: Int32Array.of(0),
        rowStarts: Int32Array.of(0, end - start),
        rowPositions: Int32Array.of(start),
        rowWants: Uint8Array.of(isWanted ? wants : rowWants.nothing),
        tokenIds: tokenIds.subarray(start, end),
        targets: isWanted && targets.length > 0 ? targets.subarray(start, end) : none,
        pageAppends: this.#appends(start, end),
        pageSwaps: none,
        pageCopies: none,
        rowUpdates: start === 0 ? [update] : [],
      });
      if (isWanted) yield { start, outputs };
      start = end;
    }
  }

  /** The pages that positions `start .. end - 1` are the first to need. */
  #appends(start: number, end: number): Int32Array {
    const appends: number[] = [];
    const first = Math.ceil(start / this.#pageTokens);
    const last = Math.ceil(end / this.#pageTokens);
    for (const group of this.#executable.plan.kvGroups.keys()) {
      for (let index = first; index < last; index++) appends.push(0, group, index, index + 1);
    }
    return Int32Array.from(appends);
  }
}
