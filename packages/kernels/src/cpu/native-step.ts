import { limit } from "@kvant/core";
import type { RowUpdate, StepInputs, StepOutputs } from "../step.ts";
import type { NativeRowUpdate, NativeStep, NativeStepResult } from "./native-addon.ts";

/** Step inputs as they cross into the addon. */
export function nativeStep(inputs: StepInputs): NativeStep {
  return { ...inputs, rowUpdates: inputs.rowUpdates.map(nativeRowUpdate) };
}

/** Step outputs from what the addon answers. */
export function stepOutputs(result: NativeStepResult): StepOutputs {
  const rowCount = result.sampledIds.length;
  return {
    sampledIds: result.sampledIds,
    sampledLogprobs: result.sampledLogprobs,
    topLogprobs: Array.from({ length: rowCount }, (_, row) => topLogprobs(result, row)),
    logits: result.logits,
    scores: result.scores,
    seconds: result.seconds,
    saturations: result.saturations,
  };
}

function nativeRowUpdate({ slot, sampling, promptIds, outputIds }: RowUpdate): NativeRowUpdate {
  return {
    slot,
    promptIds,
    outputIds,
    numbers: Float64Array.of(
      sampling.temperature,
      sampling.topP,
      sampling.minP,
      sampling.repetitionPenalty,
      sampling.frequencyPenalty,
      sampling.presencePenalty,
      sampling.topK,
      sampling.minTokens,
      sampling.topLogprobs,
    ),
    seed: Uint32Array.from(sampling.seed),
    biasIds: Int32Array.from(sampling.logitBias, ([id]) => id),
    biases: Float32Array.from(sampling.logitBias, ([, bias]) => bias),
    suppressedIds: Int32Array.from(sampling.suppressedIds),
  };
}

/** The row's pairs up to the first id of -1; undefined when there is none. */
function topLogprobs({ topIds, topLogprobs }: NativeStepResult, row: number): StepOutputs["topLogprobs"][number] {
  const width = limit("topLogprobs");
  const pairs: [number, number][] = [];
  for (let i = row * width; i < (row + 1) * width && topIds[i]! >= 0; i++) pairs.push([topIds[i]!, topLogprobs[i]!]);
  return pairs.length === 0 ? undefined : pairs;
}
