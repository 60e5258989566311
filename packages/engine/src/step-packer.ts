import { FROM_PREVIOUS_STEP, type RowUpdate, rowWants, type StepInputs } from "@kvant/kernels";
import { NumberList } from "./number-list.ts";
import type { Batch } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

const noIds = new Int32Array(0);

/** Turns batches into the typed arrays of a step. The arrays are reused: a backend reads them during `submit`. */
export class StepPacker {
  readonly #rowSlots = new NumberList(Int32Array, 64);
  readonly #rowStarts = new NumberList(Int32Array, 65);
  readonly #rowPositions = new NumberList(Int32Array, 64);
  readonly #tokenIds = new NumberList(Int32Array, 512);
  readonly #pageAppends = new NumberList(Int32Array, 256);
  readonly #pageSwaps = new NumberList(Int32Array, 256);
  readonly #pageCopies = new NumberList(Int32Array, 32);
  #rowWants = new Uint8Array(64);

  pack(batch: Batch): StepInputs {
    for (const list of [
      this.#rowSlots,
      this.#rowStarts,
      this.#rowPositions,
      this.#tokenIds,
      this.#pageAppends,
      this.#pageSwaps,
      this.#pageCopies,
    ]) {
      list.length = 0;
    }
    if (this.#rowWants.length < batch.rows.length) this.#rowWants = new Uint8Array(batch.rows.length * 2);
    const rowUpdates: RowUpdate[] = [];
    for (let i = 0; i < batch.rows.length; i++) {
      const { sequence, start, tokenCount, samples } = batch.rows[i]!;
      this.#rowSlots.push(sequence.slot);
      this.#rowStarts.push(this.#tokenIds.length);
      this.#rowPositions.push(start);
      this.#rowWants[i] = samples ? rowWants.sample : rowWants.nothing;
      for (let position = start; position < start + tokenCount; position++) {
        this.#tokenIds.push(sequence.tokenAt(position) ?? FROM_PREVIOUS_STEP);
      }
      if (sequence.needsRowUpdate) {
        sequence.needsRowUpdate = false;
        rowUpdates.push(rowUpdate(sequence));
      }
      this.#takePages(sequence);
    }
    this.#rowStarts.push(this.#tokenIds.length);
    for (const value of batch.pageSwaps) this.#pageSwaps.push(value);
    return {
      rowSlots: this.#rowSlots.view(),
      rowStarts: this.#rowStarts.view(),
      rowPositions: this.#rowPositions.view(),
      rowWants: this.#rowWants.subarray(0, batch.rows.length),
      tokenIds: this.#tokenIds.view(),
      targets: noIds,
      pageAppends: this.#pageAppends.view(),
      pageSwaps: this.#pageSwaps.view(),
      pageCopies: this.#pageCopies.view(),
      rowUpdates,
    };
  }

  #takePages(sequence: Sequence): void {
    const { pendingAppends: appends, pendingCopies: copies } = sequence;
    if (appends.length === 0 && copies.length === 0) return;
    for (let i = 0; i < appends.length; i += 3) {
      this.#pageAppends.push(sequence.slot);
      for (let j = i; j < i + 3; j++) this.#pageAppends.push(appends[j]!);
    }
    for (const value of copies) this.#pageCopies.push(value);
    appends.length = 0;
    copies.length = 0;
  }
}

function rowUpdate(sequence: Sequence): RowUpdate {
  const { repetitionPenalty } = sequence.sampling;
  return {
    slot: sequence.slot,
    sampling: sequence.sampling,
    // Only the repetition penalty looks at the prompt.
    promptIds: repetitionPenalty === 1 ? noIds : sequence.promptIds,
    outputIds: sequence.outputIds,
  };
}
