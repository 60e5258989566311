import { rowWants, type StepInputs } from "../step.ts";

/** The tokens of a step, flat over its rows. */
export interface StepTokens {
  readonly ids: Int32Array; // [tokens]
  readonly positions: Int32Array; // [tokens]
  readonly slots: Int32Array; // [tokens] row slot of the token's sequence
  /** `[logit rows]` tokens whose logits are wanted, in row then token order. */
  readonly logitTokens: Int32Array;
}

/** Spreads the rows of a step over its tokens. `ids` are copied; FROM_PREVIOUS_STEP stays as it is. */
export function stepTokens(inputs: StepInputs): StepTokens {
  const count = inputs.tokenIds.length;
  const positions = new Int32Array(count);
  const slots = new Int32Array(count);
  const logitTokens: number[] = [];
  for (let row = 0; row < inputs.rowSlots.length; row++) {
    const [start, end] = [inputs.rowStarts[row]!, inputs.rowStarts[row + 1]!];
    const wants = inputs.rowWants[row]!;
    for (let token = start; token < end; token++) {
      positions[token] = inputs.rowPositions[row]! + token - start;
      slots[token] = inputs.rowSlots[row]!;
      const isWanted = wants === rowWants.sample ? token === end - 1 : wants !== rowWants.nothing;
      if (isWanted) logitTokens.push(token);
    }
  }
  return { ids: inputs.tokenIds.slice(), positions, slots, logitTokens: Int32Array.from(logitTokens) };
}
