import { KvantError, limit } from "@kvant/core";
import type { CompileOptions } from "./backend.ts";
import type { Plan } from "./plan.ts";
import {
  FROM_PREVIOUS_STEP,
  type RowUpdate,
  rowWants,
  type SamplingParameters,
  type StepInputs,
  swapDirections,
} from "./step.ts";

/** What a step asks for. */
export interface StepSize {
  readonly rows: number;
  readonly tokens: number;
  /** Tokens whose logits are computed. */
  readonly logitRows: number;
}

/**
 * Checks the inputs of every step before a backend sees them, so that all backends refuse the same inputs with the same
 * sentence. Remembers per row slot what the order of steps implies: whether it started, how long its tables are, and
 * whether it has sampled. A refused step changes nothing.
 */
export class StepChecker {
  readonly #plan: Plan;
  readonly #options: CompileOptions;
  readonly #started: Uint8Array; // [maxRows]
  readonly #sampled: Uint8Array; // [maxRows]
  /** `[maxRows]` the last step, counted here, in which a slot had a row. */
  readonly #seenIn: Float64Array;
  #stepCount = 0;
  readonly #tableLengths: readonly Int32Array[]; // [kvGroups][maxRows]
  readonly #tableLimit: number;

  constructor(plan: Plan, options: CompileOptions) {
    checkCompileOptions(plan, options);
    this.#plan = plan;
    this.#options = options;
    this.#started = new Uint8Array(options.maxRows);
    this.#sampled = new Uint8Array(options.maxRows);
    this.#seenIn = new Float64Array(options.maxRows);
    this.#tableLengths = plan.kvGroups.map(() => new Int32Array(options.maxRows));
    this.#tableLimit = Math.ceil(plan.contextLength / options.pageTokens);
  }

  /** @throws KvantError INVALID_ARGUMENT naming value and limit */
  accept(inputs: StepInputs): StepSize {
    const rows = inputs.rowSlots.length;
    const tokens = inputs.tokenIds.length;
    this.#checkRows(inputs, rows, tokens);
    const restarted = this.#checkUpdates(inputs.rowUpdates);
    const tableLengths = this.#checkPages(inputs, restarted);
    const logitRows = this.#checkTokens(inputs, restarted, tableLengths);

    for (const slot of restarted) {
      this.#started[slot] = 1;
      this.#sampled[slot] = 0;
      for (const lengths of this.#tableLengths) lengths[slot] = 0;
    }
    for (const [key, length] of tableLengths) {
      this.#tableLengths[Math.floor(key / this.#options.maxRows)]![key % this.#options.maxRows] = length;
    }
    for (let row = 0; row < rows; row++) {
      if (inputs.rowWants[row] === rowWants.sample) this.#sampled[inputs.rowSlots[row]!] = 1;
    }
    return { rows, tokens, logitRows };
  }

  #checkRows(inputs: StepInputs, rows: number, tokens: number): void {
    const { maxRows, maxTokens } = this.#options;
    if (rows > maxRows) throw invalid(`a step of ${rows} rows exceeds the ${maxRows} row slots`);
    if (tokens > maxTokens) throw invalid(`a step of ${tokens} tokens exceeds the ${maxTokens} it was compiled for`);
    if (
      inputs.rowStarts.length !== rows + 1 ||
      inputs.rowPositions.length !== rows ||
      inputs.rowWants.length !== rows
    ) {
      throw invalid(
        `${rows} rows need ${rows + 1} row starts, ${rows} positions and ${rows} wants, not ` +
          `${inputs.rowStarts.length}, ${inputs.rowPositions.length} and ${inputs.rowWants.length}`,
      );
    }
    if (inputs.rowStarts[0] !== 0 || inputs.rowStarts[rows] !== tokens) {
      throw invalid(`row starts run from ${inputs.rowStarts[0]} to ${inputs.rowStarts[rows]}, not from 0 to ${tokens}`);
    }
    const step = ++this.#stepCount;
    for (let row = 0; row < rows; row++) {
      const slot = inputs.rowSlots[row]!;
      this.#checkSlot(slot);
      if (this.#seenIn[slot] === step) throw invalid(`row slot ${slot} appears twice in a step`);
      this.#seenIn[slot] = step;
      const count = inputs.rowStarts[row + 1]! - inputs.rowStarts[row]!;
      if (count < 1) throw invalid(`row ${row} has ${count} tokens; every row has at least one`);
      const position = inputs.rowPositions[row]!;
      const { contextLength } = this.#plan;
      if (position < 0 || position + count > contextLength) {
        throw invalid(
          `row ${row}: positions ${position} to ${position + count - 1} leave the context of ${contextLength}`,
        );
      }
      const wants = inputs.rowWants[row]!;
      if (wants > rowWants.score) throw invalid(`row ${row} wants ${wants}; there are wants 0 to ${rowWants.score}`);
      if (wants !== rowWants.nothing && this.#plan.logits === undefined) {
        throw invalid(`row ${row} wants logits of plan "${this.#plan.name}", which has none`);
      }
    }
  }

  #checkUpdates(updates: readonly RowUpdate[]): Set<number> {
    const restarted = new Set<number>();
    for (const update of updates) {
      this.#checkSlot(update.slot);
      if (restarted.has(update.slot)) throw invalid(`row slot ${update.slot} is updated twice in a step`);
      restarted.add(update.slot);
      this.#checkIds("prompt", update.promptIds);
      this.#checkIds("output", update.outputIds);
      this.#checkSampling(update.sampling);
    }
    return restarted;
  }

  #checkSampling(sampling: SamplingParameters): void {
    const rules: readonly (readonly [name: string, value: number, holds: boolean, rule: string])[] = [
      ["temperature", sampling.temperature, sampling.temperature >= 0, "a number from 0 up"],
      ["topK", sampling.topK, Number.isInteger(sampling.topK) && sampling.topK >= 0, "an integer from 0 up"],
      ["topP", sampling.topP, sampling.topP > 0 && sampling.topP <= 1, "above 0 and at most 1"],
      ["minP", sampling.minP, sampling.minP >= 0 && sampling.minP <= 1, "from 0 to 1"],
      ["repetitionPenalty", sampling.repetitionPenalty, sampling.repetitionPenalty > 0, "above 0"],
      ["frequencyPenalty", sampling.frequencyPenalty, Number.isFinite(sampling.frequencyPenalty), "finite"],
      ["presencePenalty", sampling.presencePenalty, Number.isFinite(sampling.presencePenalty), "finite"],
      [
        "minTokens",
        sampling.minTokens,
        Number.isInteger(sampling.minTokens) && sampling.minTokens >= 0,
        "an integer from 0 up",
      ],
      [
        "topLogprobs",
        sampling.topLogprobs,
        Number.isInteger(sampling.topLogprobs) &&
          sampling.topLogprobs >= -1 &&
          sampling.topLogprobs <= limit("topLogprobs"),
        `an integer from -1 to ${limit("topLogprobs")}`,
      ],
    ];
    for (const [name, value, holds, rule] of rules) {
      if (!holds || value === Infinity) throw invalid(`${name} is ${rule}, not ${value}`);
    }
    for (const word of sampling.seed) {
      if (!Number.isInteger(word) || word < 0 || word > 0xffffffff)
        throw invalid(`seed word ${word} is no unsigned 32-bit integer`);
    }
    for (const [id, bias] of sampling.logitBias) {
      this.#checkIds("logit bias", [id]);
      if (!Number.isFinite(bias)) throw invalid(`the logit bias of token ${id} is ${bias}, not a finite number`);
    }
    this.#checkIds("suppressed", sampling.suppressedIds);
  }

  /** Returns the table lengths after the step, by `group * maxRows + slot`, where they change. */
  #checkPages(inputs: StepInputs, restarted: ReadonlySet<number>): Map<number, number> {
    const { maxRows } = this.#options;
    const lengths = new Map<number, number>();
    const { pageAppends, pageCopies } = inputs;
    if (pageAppends.length % 4 !== 0)
      throw invalid(`page appends come in fours; there are ${pageAppends.length} numbers`);
    for (let i = 0; i < pageAppends.length; i += 4) {
      const [slot, group, index, page] = [
        pageAppends[i]!,
        pageAppends[i + 1]!,
        pageAppends[i + 2]!,
        pageAppends[i + 3]!,
      ];
      this.#checkSlot(slot);
      this.#checkPage(group, page, 0);
      if (index < 0 || index >= this.#tableLimit) {
        throw invalid(`page table index ${index} is outside 0 to ${this.#tableLimit - 1}`);
      }
      const key = group * maxRows + slot;
      const length = lengths.get(key) ?? (restarted.has(slot) ? 0 : this.#tableLengths[group]![slot]!);
      lengths.set(key, Math.max(length, index + 1));
    }
    this.#checkSwaps(inputs.pageSwaps);
    if (pageCopies.length % 3 !== 0)
      throw invalid(`page copies come in threes; there are ${pageCopies.length} numbers`);
    for (let i = 0; i < pageCopies.length; i += 3) {
      this.#checkPage(pageCopies[i]!, pageCopies[i + 1]!, 1);
      this.#checkPage(pageCopies[i]!, pageCopies[i + 2]!, 1);
    }
    return lengths;
  }

  #checkSwaps(pageSwaps: Int32Array): void {
    if (pageSwaps.length % 4 !== 0) throw invalid(`page swaps come in fours; there are ${pageSwaps.length} numbers`);
    for (let i = 0; i < pageSwaps.length; i += 4) {
      const [group, hostPage, direction] = [pageSwaps[i]!, pageSwaps[i + 2]!, pageSwaps[i + 3]!];
      this.#checkPage(group, pageSwaps[i + 1]!, 1);
      const hostPageCount = this.#options.hostPageCounts?.[group] ?? 0;
      if (hostPage < 0 || hostPage >= hostPageCount) {
        throw invalid(`host page ${hostPage} is not one of the ${hostPageCount} of KV group ${group}`);
      }
      if (direction !== swapDirections.out && direction !== swapDirections.in) {
        throw invalid(
          `a page swap has direction ${swapDirections.out} (out) or ${swapDirections.in} (in), not ${direction}`,
        );
      }
    }
  }

  #checkTokens(inputs: StepInputs, restarted: ReadonlySet<number>, tableLengths: ReadonlyMap<number, number>): number {
    const { maxRows, maxLogitRows, pageTokens } = this.#options;
    const { tokenIds, targets } = inputs;
    let logitRows = 0;
    for (let row = 0; row < inputs.rowSlots.length; row++) {
      const slot = inputs.rowSlots[row]!;
      if (this.#started[slot] === 0 && !restarted.has(slot)) {
        throw invalid(`row slot ${slot} has no sequence: its first step carries a row update`);
      }
      const [start, end] = [inputs.rowStarts[row]!, inputs.rowStarts[row + 1]!];
      for (let token = start; token < end; token++) {
        const id = tokenIds[token]!;
        if (id !== FROM_PREVIOUS_STEP) this.#checkIds("token", [id]);
        else if (this.#sampled[slot] === 0 || restarted.has(slot)) {
          throw invalid(`row slot ${slot} has sampled no token that FROM_PREVIOUS_STEP could stand for`);
        }
      }
      const lastPosition = inputs.rowPositions[row]! + end - start - 1;
      for (let group = 0; group < this.#tableLengths.length; group++) {
        const old = restarted.size > 0 && restarted.has(slot) ? 0 : this.#tableLengths[group]![slot]!;
        if (lastPosition < old * pageTokens) continue;
        const length = tableLengths.get(group * maxRows + slot) ?? old;
        if (lastPosition < length * pageTokens) continue;
        throw invalid(
          `row slot ${slot} writes position ${lastPosition}, but its page table in KV group ${group} ends at ${length * pageTokens}`,
        );
      }
      const wants = inputs.rowWants[row]!;
      if (wants === rowWants.score) {
        if (targets.length < end)
          throw invalid(`row ${row} wants scores of tokens up to ${end}, but ${targets.length} targets are given`);
        this.#checkIds("target", targets.subarray(start, end));
      }
      if (wants === rowWants.sample) logitRows += 1;
      else if (wants !== rowWants.nothing) logitRows += end - start;
    }
    if (logitRows > maxLogitRows) {
      throw invalid(`a step with ${logitRows} logit rows exceeds the ${maxLogitRows} it was compiled for`);
    }
    return logitRows;
  }

  #checkSlot(slot: number): void {
    if (slot >= 0 && slot < this.#options.maxRows) return;
    throw invalid(`row slot ${slot} is outside 0 to ${this.#options.maxRows - 1}`);
  }

  #checkPage(group: number, page: number, first: number): void {
    const count = this.#options.pageCounts[group];
    if (count === undefined) throw invalid(`KV group ${group} is outside 0 to ${this.#options.pageCounts.length - 1}`);
    if (page < first || page >= count)
      throw invalid(`page ${page} of KV group ${group} is outside ${first} to ${count - 1}`);
  }

  #checkIds(what: string, ids: Int32Array | readonly number[]): void {
    const { vocabSize } = this.#plan;
    for (const id of ids) {
      if (!(Number.isInteger(id) && id >= 0 && id < vocabSize)) {
        throw invalid(`${what} id ${id} is outside the vocabulary of ${vocabSize}`);
      }
    }
  }
}

function checkCompileOptions(plan: Plan, options: CompileOptions): void {
  if (![16, 32, 64].includes(options.pageTokens)) {
    throw invalid(`pages hold 16, 32 or 64 tokens, not ${options.pageTokens}`);
  }
  for (const name of ["maxRows", "maxTokens", "maxLogitRows"] as const) {
    if (!Number.isSafeInteger(options[name]) || options[name] < 1) {
      throw invalid(`${name} is a positive integer, not ${options[name]}`);
    }
  }
  if (options.pageCounts.length !== plan.kvGroups.length) {
    throw invalid(`${plan.kvGroups.length} KV groups need as many page counts, not ${options.pageCounts.length}`);
  }
  for (const count of options.pageCounts) {
    if (!Number.isSafeInteger(count) || count < 2) {
      throw invalid(`a page pool has at least 2 pages, the reserved page 0 included, not ${count}`);
    }
  }
  const { hostPageCounts } = options;
  if (hostPageCounts === undefined) return;
  if (hostPageCounts.length !== plan.kvGroups.length) {
    throw invalid(`${plan.kvGroups.length} KV groups need as many host page counts, not ${hostPageCounts.length}`);
  }
  for (const count of hostPageCounts) {
    if (!Number.isSafeInteger(count) || count < 0)
      throw invalid(`a host page count is an integer from 0 up, not ${count}`);
  }
}

function invalid(message: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", message);
}
