import type { PlannedRequest, Workload } from "../load/planned-request.ts";
import type { Dataset } from "./datasets/dataset.ts";
import { type Distribution, drawSeconds } from "./distribution.ts";
import { RandomSource } from "./random-source.ts";

export interface WorkloadPlan {
  readonly dataset: Dataset;
  /** Ascending seconds, from the start each time it is called; absent in a closed loop. */
  readonly arrivals?: () => Iterator<number, void>;
  /** In a sentence: `closed loop`, `4 requests/s, poisson`. */
  readonly arrivalDescription: string;
  readonly thinkSeconds: Distribution;
  /** Absent: as the dataset has it. */
  readonly isFixedLength?: boolean;
  /** At most so many, turns counted one by one. */
  readonly requests?: number;
  /** Nothing is due at or after it. */
  readonly durationSeconds?: number;
  /** Where it is known beforehand. */
  readonly size: number | undefined;
  readonly seed: number;
}

/** Joins what is asked with when: one dialogue for each arrival, its turns one after the other in the plan. */
export function planWorkload(plan: WorkloadPlan): Workload {
  return {
    description: `${plan.dataset.description}; ${plan.arrivalDescription}; seed ${plan.seed}`,
    size: plan.size,
    requests: () => plannedRequests(plan),
  };
}

function* plannedRequests(plan: WorkloadPlan): Generator<PlannedRequest, void> {
  const { dataset, requests = Infinity, durationSeconds = Infinity, seed } = plan;
  const { isFixedLength = dataset.isFixedLength } = plan;
  const think = new RandomSource(seed, "think time");
  const arrivals = plan.arrivals?.();
  let [index, conversation] = [0, 0];
  for (const dialogue of dataset.dialogues(seed)) {
    const arrival = arrivals?.next();
    if (arrival?.done || (arrival?.value ?? 0) >= durationSeconds) return;
    for (const [number, ask] of dialogue.entries()) {
      if (index === requests) return;
      const thinkSeconds = number === 0 ? 0 : drawSeconds(plan.thinkSeconds, think);
      yield {
        index: index++,
        ...ask,
        isFixedLength,
        ...(arrival === undefined || number > 0 ? {} : { dueSeconds: arrival.value }),
        ...(dialogue.length === 1 ? {} : { turn: { conversation, number, thinkSeconds } }),
      };
    }
    conversation++;
  }
}
