import { KvantError } from "@kvant/core";
import type { CompileOptions, Executable } from "../backend.ts";
import {
  greedy,
  type RowUpdate,
  rowWants,
  type SamplingParameters,
  type StepInputs,
  type StepOutputs,
} from "../step.ts";

export { greedy };

/** One row of a step: the next tokens of a slot's sequence. */
export interface DriverRow {
  readonly slot: number;
  readonly tokenIds: readonly number[];
  readonly wants: keyof typeof rowWants;
  /** For rows that want `score`. */
  readonly targets?: readonly number[];
}

/**
 * The least that drives an executable: hands out pages in order (or in an order of the caller's), keeps positions, packs
 * step inputs. No reuse and no eviction; that is the cache manager's job.
 */
export class StepDriver {
  readonly #executable: Executable;
  readonly #options: CompileOptions;
  readonly #freePages: number[][]; // [kvGroups][pages], the next one last
  readonly #positions = new Map<number, number>(); // by slot
  readonly #tablePages = new Map<number, number>(); // by slot
  #updates: RowUpdate[] = [];

  /** `pageOrder` turns the default order 1, 2, 3 ... of a pool into another. */
  constructor(executable: Executable, options: CompileOptions, pageOrder: (pages: number[]) => number[] = (p) => p) {
    this.#executable = executable;
    this.#options = options;
    this.#freePages = options.pageCounts.map((count) =>
      pageOrder(Array.from({ length: count - 1 }, (_, page) => page + 1)).reverse(),
    );
  }

  /** Starts a new sequence in a slot with the next step. */
  start(
    slot: number,
    sampling: SamplingParameters = greedy,
    history: { readonly promptIds?: readonly number[]; readonly outputIds?: readonly number[] } = {},
  ): void {
    this.#positions.set(slot, 0);
    this.#tablePages.set(slot, 0);
    this.#updates.push({
      slot,
      sampling,
      promptIds: Int32Array.from(history.promptIds ?? []),
      outputIds: Int32Array.from(history.outputIds ?? []),
    });
  }

  /** Submits one step; a slot that never started starts with greedy sampling. */
  step(rows: readonly DriverRow[]): Promise<StepOutputs> {
    return this.#executable.submit(this.pack(rows));
  }

  /** The inputs that `step` would submit. Positions and pages advance as if it had. */
  pack(rows: readonly DriverRow[]): StepInputs {
    for (const { slot } of rows) if (!this.#positions.has(slot)) this.start(slot);
    const starts = [0];
    const appends: number[] = [];
    const positions = rows.map(({ slot, tokenIds }) => {
      const position = this.#positions.get(slot)!;
      starts.push(starts.at(-1)! + tokenIds.length);
      this.#positions.set(slot, position + tokenIds.length);
      appends.push(...this.#append(slot, position + tokenIds.length));
      return position;
    });
    const inputs: StepInputs = {
      rowSlots: Int32Array.from(rows, ({ slot }) => slot),
      rowStarts: Int32Array.from(starts),
      rowPositions: Int32Array.from(positions),
      rowWants: Uint8Array.from(rows, ({ wants }) => rowWants[wants]),
      tokenIds: Int32Array.from(rows.flatMap(({ tokenIds }) => tokenIds)),
      targets: Int32Array.from(rows.flatMap(({ tokenIds, targets }) => targets ?? tokenIds.map(() => 0))),
      pageAppends: Int32Array.from(appends),
      pageSwaps: new Int32Array(),
      pageCopies: new Int32Array(),
      rowUpdates: this.#updates,
    };
    this.#updates = [];
    return inputs;
  }

  #append(slot: number, length: number): readonly number[] {
    const appends: number[] = [];
    const needed = Math.ceil(length / this.#options.pageTokens);
    for (let index = this.#tablePages.get(slot)!; index < needed; index++) {
      this.#freePages.forEach((free, group) => {
        const page = free.pop();
        if (page === undefined) {
          throw new KvantError(
            "KV_TOO_SMALL",
            `the ${this.#options.pageCounts[group]} pages of group ${group} are used up`,
          );
        }
        appends.push(slot, group, index, page);
      });
    }
    this.#tablePages.set(slot, Math.max(needed, this.#tablePages.get(slot)!));
    return appends;
  }
}
