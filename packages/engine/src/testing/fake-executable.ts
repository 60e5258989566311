import { setImmediate as nextTurn } from "node:timers/promises";
import type { Executable, Plan, StepInputs, StepOutputs } from "@kvant/kernels";

/** Called with the number of a step, 1 first, when it is submitted (may throw) and when it runs (may reject). */
export interface FakeFaults {
  readonly atSubmit?: (step: number) => void;
  readonly atRun?: (step: number) => void | Promise<void>;
}

/** An executable that computes nothing: every row that samples draws the position of its last token. */
export class FakeExecutable implements Executable {
  readonly plan: Plan = {
    name: "fake",
    vocabSize: 1000,
    contextLength: 512,
    buffers: [],
    weights: [],
    ropes: [],
    kvGroups: [{ layerCount: 1, kvHeads: 1, headDim: 2, window: undefined, format: "fp32", scales: { kind: "none" } }],
    ops: [],
    inputs: [],
    outputs: [],
    logits: undefined,
  };
  readonly variants = [];
  readonly #faults: FakeFaults;
  #tail: Promise<unknown> = Promise.resolve();
  #steps = 0;
  #inFlight = 0;

  constructor(faults: FakeFaults = {}) {
    this.#faults = faults;
  }

  get stepCount(): number {
    return this.#steps;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  submit({ rowPositions, rowStarts, rowWants }: StepInputs): Promise<StepOutputs> {
    const step = ++this.#steps;
    this.#faults.atSubmit?.(step);
    const rows = rowWants.length;
    const sampledIds = Int32Array.from({ length: rows }, (_, i) =>
      rowWants[i] === 1 ? rowPositions[i]! + rowStarts[i + 1]! - rowStarts[i]! : -1,
    );
    this.#inFlight++;
    const running = this.#tail.then(async (): Promise<StepOutputs> => {
      try {
        await nextTurn();
        await this.#faults.atRun?.(step);
        return {
          sampledIds,
          sampledLogprobs: new Float32Array(rows).fill(Number.NaN),
          topLogprobs: new Array(rows).fill(undefined),
          logits: new Float32Array(),
          scores: new Float32Array(),
          seconds: 0,
          saturations: 0,
        };
      } finally {
        this.#inFlight--;
      }
    });
    this.#tail = running.catch(() => undefined);
    return running;
  }

  loadWeight(): void {}
  loadQuantized(): void {}
  writeBuffer(): void {}
  readBuffer(): Float32Array {
    return new Float32Array();
  }
  readPage(): Uint8Array {
    return new Uint8Array();
  }
  memory(): ReturnType<Executable["memory"]> {
    return { weightBytes: {}, kvCodeBytes: 0, kvScaleBytes: 0, activationBytes: 0 };
  }
  async close(): Promise<void> {
    await this.#tail;
  }
}
