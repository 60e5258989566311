import { errorCode } from "@kvant/core";
import { FROM_PREVIOUS_STEP, type StepInputs, swapDirections } from "../../step.ts";
import { prepare } from "../conformance-case.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { greedy, StepDriver } from "../step-driver.ts";
import { tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";
import { differentBits } from "./compare-bits.ts";

const update = { slot: 3, sampling: greedy, promptIds: new Int32Array(), outputIds: new Int32Array() };

/** Ways to spoil a good step of two rows of 5 and 2 tokens in slots 0 and 1. */
const spoilers: Readonly<Record<string, (inputs: StepInputs) => Partial<StepInputs>>> = {
  "a token id at the vocabulary's size": () => ({ tokenIds: Int32Array.of(1, 2, 105, 4, 5, 6, 7) }),
  "a negative token id": () => ({ tokenIds: Int32Array.of(1, 2, -2, 4, 5, 6, 7) }),
  "a token of the previous step where there was none": () => ({
    tokenIds: Int32Array.of(1, 2, 3, 4, 5, 6, FROM_PREVIOUS_STEP),
  }),
  "a row slot beyond the slots": () => ({ rowSlots: Int32Array.of(0, 8) }),
  "a row slot twice": () => ({ rowSlots: Int32Array.of(0, 0) }),
  "a row slot without a sequence": () => ({ rowSlots: Int32Array.of(0, 6) }),
  "row starts that do not end at the tokens": () => ({ rowStarts: Int32Array.of(0, 5, 8) }),
  "an empty row": () => ({ rowStarts: Int32Array.of(0, 0, 7) }),
  "too few row starts": () => ({ rowStarts: Int32Array.of(0, 7) }),
  "a negative position": () => ({ rowPositions: Int32Array.of(-1, 0) }),
  "a position beyond the context": () => ({ rowPositions: Int32Array.of(0, 191) }),
  "a position without a page": () => ({ rowPositions: Int32Array.of(0, 40) }),
  "an unknown want": () => ({ rowWants: Uint8Array.of(2, 9) }),
  "a score without targets": () => ({ rowWants: Uint8Array.of(3, 3), targets: new Int32Array() }),
  "a target outside the vocabulary": () => ({
    rowWants: Uint8Array.of(3, 3),
    targets: Int32Array.of(1, 2, 3, 4, 5, 6, 1000),
  }),
  "a page beyond the pool": ({ pageAppends }) => ({ pageAppends: Int32Array.of(...pageAppends, 0, 0, 1, 64) }),
  "a KV group that is not there": ({ pageAppends }) => ({ pageAppends: Int32Array.of(...pageAppends, 0, 1, 1, 3) }),
  "a table index beyond the context": ({ pageAppends }) => ({
    pageAppends: Int32Array.of(...pageAppends, 0, 0, 12, 3),
  }),
  "half a page append": ({ pageAppends }) => ({ pageAppends: pageAppends.slice(0, -1) }),
  "a copy of the reserved page": () => ({ pageCopies: Int32Array.of(0, 0, 5) }),
  "a copy to a page beyond the pool": () => ({ pageCopies: Int32Array.of(0, 1, 64) }),
  "half a page swap": () => ({ pageSwaps: Int32Array.of(0, 1, 0) }),
  "a swap of the reserved page": () => ({ pageSwaps: Int32Array.of(0, 0, 0, swapDirections.out) }),
  "a swap of a page beyond the pool": () => ({ pageSwaps: Int32Array.of(0, 64, 0, swapDirections.in) }),
  "a swap in a KV group that is not there": () => ({ pageSwaps: Int32Array.of(1, 1, 0, swapDirections.out) }),
  "a swap to a host page beyond the pool": () => ({ pageSwaps: Int32Array.of(0, 1, 8, swapDirections.out) }),
  "a swap in neither direction": () => ({ pageSwaps: Int32Array.of(0, 1, 0, 2) }),
  "a negative temperature": ({ rowUpdates }) => ({
    rowUpdates: [...rowUpdates, { ...update, sampling: { ...greedy, temperature: -1 } }],
  }),
  "a top-p of 0": ({ rowUpdates }) => ({
    rowUpdates: [...rowUpdates, { ...update, sampling: { ...greedy, topP: 0 } }],
  }),
  "a bias on an id outside the vocabulary": ({ rowUpdates }) => ({
    rowUpdates: [...rowUpdates, { ...update, sampling: { ...greedy, logitBias: [[105, 1]] } }],
  }),
  "a history outside the vocabulary": ({ rowUpdates }) => ({
    rowUpdates: [...rowUpdates, { ...update, promptIds: Int32Array.of(-1) }],
  }),
};

/** Every spoiled step throws INVALID_ARGUMENT, and the good step afterwards answers as if nothing had happened. */
export const rejectionChecks: readonly ConformanceCheck[] = [
  {
    group: "rejected steps",
    name: `${Object.keys(spoilers).length} impossible steps throw INVALID_ARGUMENT and change nothing`,
    run: checkRejections,
  },
];

async function checkRejections(create: BackendFactory): Promise<readonly string[]> {
  const expected = await goodStep(create, []);
  const failures: string[] = [];
  const actual = await goodStep(create, failures);
  const difference = differentBits("the good step after all the bad ones", actual, expected);
  return difference === undefined ? failures : [...failures, difference];
}

/** The logits of a good step, after the spoiled ones when `failures` is to be filled. */
async function goodStep(create: BackendFactory, failures: string[]): Promise<Float32Array> {
  const setup = tinyDecoder(tinyDecoders[0]!, 3);
  const executable = prepare(setup, create());
  const inputs = new StepDriver(executable, setup.options).pack([
    { slot: 0, tokenIds: [1, 2, 3, 4, 5], wants: "logits" },
    { slot: 1, tokenIds: [6, 7], wants: "logits" },
  ]);
  for (const [name, spoil] of Object.entries(spoilers)) {
    try {
      await executable.submit({ ...inputs, ...spoil(inputs) });
      failures.push(`a step with ${name} is accepted`);
    } catch (error) {
      if (errorCode(error) !== "INVALID_ARGUMENT") failures.push(`a step with ${name} throws ${error}`);
    }
  }
  const { logits } = await executable.submit(inputs);
  await executable.close();
  return logits;
}
