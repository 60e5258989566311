import { greedy, type SamplingParameters } from "@kvant/kernels";
import { Sequence, type SequenceOptions } from "../sequence.ts";

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
