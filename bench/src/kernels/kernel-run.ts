import {
  type Backend,
  type BufferId,
  type Executable,
  type Plan,
  type RowUpdate,
  rowWants,
  type StepInputs,
} from "@kvant/kernels";
import { greedy, Random } from "@kvant/kernels/conformance";
import { loadRandomWeights } from "@kvant/models";

const seed = 20_257;
/** Tokens that one step stores while pages are filled, each page through a row of its own. */
const fillTokens = 256;
/** Values of the random stream that inputs are cut from. */
const period = 1 << 18;
let stream: Float32Array | undefined;

/** What the rows of a step bring. */
export interface KernelRows {
  /** Sequences, each with pages of its own. */
  readonly count: number;
  /** Position of each one's first token. */
  readonly start: number;
  /** Of each. */
  readonly tokens: number;
  /** Sample a token: the plan has logits. */
  readonly sample: boolean;
  /** Tokens per KV page; default 16. */
  readonly pageTokens?: number;
}

/** A kernel's plan on one backend with random weights, inputs and, before the measured positions, random K and V. */
export class KernelRun {
  readonly variants: readonly string[];
  readonly #plan: Plan;
  readonly #executable: Executable;
  readonly #rows: KernelRows;
  readonly #pageTokens: number;

  private constructor(plan: Plan, executable: Executable, rows: KernelRows) {
    this.#plan = plan;
    this.#executable = executable;
    this.#rows = rows;
    this.#pageTokens = rows.pageTokens ?? 16;
    this.variants = executable.variants;
  }

  /** The same seed gives every backend the same numbers. */
  static async open(backend: Backend, plan: Plan, rows: KernelRows): Promise<KernelRun> {
    const { count, start, tokens, pageTokens = 16 } = rows;
    const rowPages = Math.ceil((start + tokens) / pageTokens);
    const fillRows = fillTokens / pageTokens;
    const executable = backend.compile(plan, {
      pageTokens,
      pageCounts: plan.kvGroups.map(() => 1 + count * rowPages),
      maxRows: Math.max(count, fillRows),
      maxTokens: Math.max(count * tokens, plan.kvGroups.length === 0 ? 1 : fillTokens),
      maxLogitRows: rows.sample ? Math.max(count, fillRows) : 1,
    });
    const run = new KernelRun(plan, executable, rows);
    try {
      loadRandomWeights(plan, executable, seed);
      if (plan.kvGroups.length > 0) await run.#fillPages(rowPages);
      run.#writeInputs(0, count * tokens);
      await run.#begin(rowPages);
    } catch (error) {
      await executable.close();
      throw error;
    }
    return run;
  }

  /** Seconds of one step: all copies of the kernel. */
  async step(): Promise<number> {
    return (await this.#executable.submit(this.#inputs([], []))).seconds;
  }

  /** The first `rows` rows of the output, or the page that the first token was stored to. */
  result(rows: number): Float32Array | Uint8Array {
    const [output] = this.#plan.outputs;
    if (output !== undefined) return this.#executable.readBuffer(output, rows);
    return this.#executable.readPage(0, Math.floor(this.#rows.start / this.#pageTokens) + 1);
  }

  close(): Promise<void> {
    return this.#executable.close();
  }

  /** K and V do not depend on who attends to them: pages are filled by rows of one page, not by one long sequence. */
  async #fillPages(rowPages: number): Promise<void> {
    const pageTokens = this.#pageTokens;
    const fillRows = fillTokens / pageTokens;
    const pages: number[] = [];
    for (let row = 0; row < this.#rows.count; row++) {
      for (let index = 0; index < Math.ceil(this.#rows.start / pageTokens); index++)
        pages.push(1 + row * rowPages + index);
    }
    for (let first = 0; first < pages.length; first += fillRows) {
      const count = Math.min(fillRows, pages.length - first);
      const slots = Array.from({ length: count }, (_, slot) => slot);
      this.#writeInputs(1 + first, count * pageTokens, ["k", "v"]);
      await this.#executable.submit({
        rowSlots: Int32Array.from(slots),
        rowStarts: Int32Array.from({ length: count + 1 }, (_, i) => i * pageTokens),
        rowPositions: new Int32Array(count),
        rowWants: new Uint8Array(count),
        tokenIds: new Int32Array(count * pageTokens),
        targets: new Int32Array(),
        pageAppends: Int32Array.from(slots.flatMap((slot) => [slot, 0, 0, pages[first + slot]!])),
        pageSwaps: new Int32Array(),
        pageCopies: new Int32Array(),
        rowUpdates: slots.map(restart),
      });
    }
  }

  /** The first step gives the measured rows their page tables, which later steps find in place. */
  async #begin(rowPages: number): Promise<void> {
    const appends: number[] = [];
    const slots = Array.from({ length: this.#rows.count }, (_, slot) => slot);
    for (const group of this.#plan.kvGroups.keys()) {
      for (const slot of slots) {
        for (let index = 0; index < rowPages; index++) appends.push(slot, group, index, 1 + slot * rowPages + index);
      }
    }
    await this.#executable.submit(this.#inputs(appends, slots.map(restart)));
  }

  #inputs(appends: readonly number[], rowUpdates: readonly RowUpdate[]): StepInputs {
    const random = new Random(seed);
    const { count, start, tokens, sample } = this.#rows;
    return {
      rowSlots: Int32Array.from({ length: count }, (_, slot) => slot),
      rowStarts: Int32Array.from({ length: count + 1 }, (_, row) => row * tokens),
      rowPositions: new Int32Array(count).fill(start),
      rowWants: new Uint8Array(count).fill(sample ? rowWants.sample : rowWants.nothing),
      tokenIds: Int32Array.from(random.tokenIds(count * tokens, this.#plan.vocabSize)),
      targets: new Int32Array(),
      pageAppends: Int32Array.from(appends),
      pageSwaps: new Int32Array(),
      pageCopies: new Int32Array(),
      rowUpdates,
    };
  }

  #writeInputs(salt: number, rows: number, names?: readonly string[]): void {
    for (const id of this.#plan.inputs) {
      if (names?.includes(this.#plan.buffers[id]!.name) === false) continue;
      this.#executable.writeBuffer(id, randomInput(id, salt, rows * this.#plan.buffers[id]!.width));
    }
  }
}

/** Normal values; a longer input begins with the shorter one. */
function randomInput(id: BufferId, salt: number, count: number): Float32Array {
  stream ??= new Random(seed).normals(period);
  const values = new Float32Array(count);
  let offset = (id * 52_627 + salt * 7919) % period;
  for (let start = 0; start < count; ) {
    const length = Math.min(count - start, period - offset);
    values.set(stream.subarray(offset, offset + length), start);
    start += length;
    offset = 0;
  }
  return values;
}

function restart(slot: number): RowUpdate {
  return { slot, sampling: greedy, promptIds: new Int32Array(), outputIds: new Int32Array() };
}
