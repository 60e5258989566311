import { limit } from "@kvant/core";
import type { RowUpdate, StepInputs, StepOutputs } from "../step.ts";
import type { NativeRowUpdate, NativeStep, NativeStepResult } from "./native-addon.ts";

/** Step inputs as they cross into the addon. */
export function nativeStep(inputs: StepInputs): NativeStep {
  return { ...inputs, rowUpdates: inputs.rowUpdates.map(nativeRowUpdate) };
}

/** Step outputs from what the addon answers. */
export function stepOutputs(result: NativeStepResult): StepOutputs {
  return {
    sampledIds: result.sampledIds,
    sampledLogprobs: result.sampledLogprobs,
    topLogprobs: allTopLogprobs(result),
    logits: result.logits,
    scores: result.scores,
    seconds: result.seconds,
    gapSeconds: result.gapSeconds,
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

function allTopLogprobs({ sampledIds, topIds, topLogprobs }: NativeStepResult): StepOutputs["topLogprobs"] {
  const rows = new Array<readonly (readonly [number, number])[] | undefined>(sampledIds.length).fill(undefined);
  if (topIds.length === 0) return rows;
  const width = limit("topLogprobs");
  for (let row = 0; row < rows.length; row++) rows[row] = pairsFrom(topIds, topLogprobs, row * width, width);
  return rows;
}

/** A row's pairs up to the first id of -1; undefined when there is none. */
function pairsFrom(
  ids: Int32Array,
  logprobs: Float32Array,
  start: number,
  width: number,
): readonly (readonly [number, number])[] | undefined {
  if (width === 0 || ids[start]! < 0) return undefined;
  const pairs: [number, number][] = [];
  for (let i = start; i < start + width && ids[i]! >= 0; i++) pairs.push([ids[i]!, logprobs[i]!]);
  return pairs;
}
