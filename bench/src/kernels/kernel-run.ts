import type { Backend, BufferId, Executable, Plan, RowUpdate, StepInputs } from "@kvant/kernels";
import { greedy, Random } from "@kvant/kernels/conformance";
import { loadRandomWeights } from "@kvant/models";

const seed = 20_257;
const pageTokens = 16;
/** Pages that one step fills, each through a row of its own. */
const fillRows = 16;
/** Values of the random stream that inputs are cut from. */
const period = 1 << 18;
let stream: Float32Array | undefined;

/** A kernel's plan on one backend with random weights, inputs and, before the measured positions, random K and V. */
export class KernelRun {
  readonly variants: readonly string[];
  readonly #plan: Plan;
  readonly #executable: Executable;
  readonly #start: number;
  readonly #tokens: number;

  private constructor(plan: Plan, executable: Executable, start: number, tokens: number) {
    this.#plan = plan;
    this.#executable = executable;
    this.#start = start;
    this.#tokens = tokens;
    this.variants = executable.variants;
  }

  /** `tokens` at the positions from `start` on; the same seed gives every backend the same numbers. */
  static async open(backend: Backend, plan: Plan, start: number, tokens: number): Promise<KernelRun> {
    const pageCount = Math.ceil((start + tokens) / pageTokens) + 1;
    const executable = backend.compile(plan, {
      pageTokens,
      pageCounts: plan.kvGroups.map(() => pageCount),
      maxRows: fillRows + 1,
      maxTokens: Math.max(tokens, plan.kvGroups.length === 0 ? 1 : fillRows * pageTokens),
      maxLogitRows: 1,
    });
    const run = new KernelRun(plan, executable, start, tokens);
    try {
      loadRandomWeights(plan, executable, seed);
      if (plan.kvGroups.length > 0) await run.#fillPages(Math.ceil(start / pageTokens));
      run.#writeInputs(0, tokens);
      await run.#begin(pageCount - 1);
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
    return this.#executable.readPage(0, Math.floor(this.#start / pageTokens) + 1);
  }

  close(): Promise<void> {
    return this.#executable.close();
  }

  /** K and V do not depend on who attends to them: pages are filled by rows of one page, not by one long sequence. */
  async #fillPages(pages: number): Promise<void> {
    for (let first = 0; first < pages; first += fillRows) {
      const count = Math.min(fillRows, pages - first);
      const slots = Array.from({ length: count }, (_, i) => i + 1);
      this.#writeInputs(1 + first, count * pageTokens);
      await this.#executable.submit({
        rowSlots: Int32Array.from(slots),
        rowStarts: Int32Array.from({ length: count + 1 }, (_, i) => i * pageTokens),
        rowPositions: new Int32Array(count),
        rowWants: new Uint8Array(count),
        tokenIds: new Int32Array(count * pageTokens),
        targets: new Int32Array(),
        pageAppends: Int32Array.from(slots.flatMap((slot) => [slot, 0, 0, first + slot])),
        pageSwaps: new Int32Array(),
        pageCopies: new Int32Array(),
        rowUpdates: slots.map(restart),
      });
    }
  }

  /** The first step gives the measured row its page table, which later steps find in place. */
  async #begin(pages: number): Promise<void> {
    const appends = this.#plan.kvGroups.flatMap((_, group) =>
      Array.from({ length: pages }, (_, index) => [0, group, index, index + 1]).flat(),
    );
    await this.#executable.submit(this.#inputs(appends, [restart(0)]));
  }

  #inputs(appends: readonly number[], rowUpdates: readonly RowUpdate[]): StepInputs {
    const random = new Random(seed);
    return {
      rowSlots: Int32Array.of(0),
      rowStarts: Int32Array.of(0, this.#tokens),
      rowPositions: Int32Array.of(this.#start),
      rowWants: Uint8Array.of(0),
      tokenIds: Int32Array.from(random.tokenIds(this.#tokens, this.#plan.vocabSize)),
      targets: new Int32Array(),
      pageAppends: Int32Array.from(appends),
      pageSwaps: new Int32Array(),
      pageCopies: new Int32Array(),
      rowUpdates,
    };
  }

  #writeInputs(salt: number, rows: number): void {
    for (const id of this.#plan.inputs) {
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
