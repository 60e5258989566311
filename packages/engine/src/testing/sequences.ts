import type { SamplingParameters } from "@kvant/kernels";
import { Sequence, type SequenceOptions } from "../sequence.ts";

export const greedy: SamplingParameters = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  seed: [0, 0],
  logitBias: [],
  minTokens: 0,
  suppressedIds: [],
  topLogprobs: -1,
};

export interface SequenceSketch {
  readonly id: number;
  readonly prompt: readonly number[];
  readonly maxTokens?: number;
  readonly priority?: number;
  readonly parent?: Sequence;
  readonly sampling?: Partial<SamplingParameters>;
}

export function sequence({ id, prompt, maxTokens = 4, priority = 0, parent, sampling = {} }: SequenceSketch): Sequence {
  const options: SequenceOptions = {
    id,
    promptIds: Int32Array.from(prompt),
    maxTokens,
    sampling: { ...greedy, ...sampling },
    priority,
    salt: undefined,
    parent,
  };
  return new Sequence(options);
}

/** `[first, first + 1, ...]`, `count` ids. */
export function run(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}
