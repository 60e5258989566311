import { type RowUpdate, rowWants, type SamplingParameters, type StepInputs, type StepOutputs } from "../step.ts";
import { logProbability } from "./log-probability.ts";
import { sample } from "./sampler.ts";

interface RowState {
  readonly sampling: SamplingParameters;
  readonly promptIds: readonly number[];
  readonly outputIds: number[];
}

/** What the row slots remember of their sequences, and the answers that rows want from their logits. */
export class RowSampler {
  readonly #rows: (RowState | undefined)[];

  constructor(slotCount: number) {
    this.#rows = Array.from({ length: slotCount }, () => undefined);
  }

  update(updates: readonly RowUpdate[]): void {
    for (const { slot, sampling, promptIds, outputIds } of updates) {
      this.#rows[slot] = { sampling, promptIds: [...promptIds], outputIds: [...outputIds] };
    }
  }

  lastSampled(slot: number): number {
    return this.#rows[slot]!.outputIds.at(-1)!;
  }

  /** Samples, scores and hands out logits, row by row. */
  answer(
    inputs: StepInputs,
    logits: Float32Array, // [logit rows, vocabSize]
    vocabSize: number,
  ): Omit<StepOutputs, "seconds" | "saturations"> {
    const rowCount = inputs.rowSlots.length;
    const sampledIds = new Int32Array(rowCount).fill(-1);
    const sampledLogprobs = new Float32Array(rowCount).fill(Number.NaN);
    const topLogprobs: StepOutputs["topLogprobs"][number][] = Array.from({ length: rowCount }, () => undefined);
    const handedOut: Float32Array[] = [];
    const scores: number[] = [];
    let next = 0;
    const nextLogits = () => logits.subarray(next * vocabSize, ++next * vocabSize);
    for (let row = 0; row < rowCount; row++) {
      const [start, end] = [inputs.rowStarts[row]!, inputs.rowStarts[row + 1]!];
      switch (inputs.rowWants[row]) {
        case rowWants.sample: {
          const state = this.#rows[inputs.rowSlots[row]!]!;
          const { id, logprob, top } = sample(nextLogits(), state.sampling, state);
          state.outputIds.push(id);
          sampledIds[row] = id;
          sampledLogprobs[row] = logprob;
          topLogprobs[row] = top;
          break;
        }
        case rowWants.logits:
          for (let token = start; token < end; token++) handedOut.push(nextLogits());
          break;
        case rowWants.score:
          for (let token = start; token < end; token++)
            scores.push(logProbability(nextLogits(), inputs.targets[token]!));
          break;
      }
    }
    const handed = new Float32Array(handedOut.length * vocabSize);
    handedOut.forEach((values, index) => {
      handed.set(values, index * vocabSize);
    });
    return { sampledIds, sampledLogprobs, topLogprobs, logits: handed, scores: Float32Array.from(scores) };
  }
}
