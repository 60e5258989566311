import type { Executable } from "../../backend.ts";
import { type CaseSetup, prepare } from "../conformance-case.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { Random } from "../random.ts";
import { StepDriver } from "../step-driver.ts";
import { type TinyDecoder, tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";
import { differentBits } from "./compare-bits.ts";

type Setup = Omit<CaseSetup, "steps">;

const [prefixLength, tailLength] = [20, 9];

/** What the cache manager asks of pages beside appending: sharing, copy-on-write, release, and slots that start over. */
export const pageMoveChecks: readonly ConformanceCheck[] = [
  check("a fork shares full pages, copies the last one, and both branches go on as if alone", tinyDecoders[3]!, forks),
  check("a slot that starts over forgets its first sequence", tinyDecoders[5]!, restarts),
  check("pages behind a window can go to another sequence", tinyDecoders[1]!, releases),
];

function check(
  name: string,
  kind: TinyDecoder,
  run: (
    setup: Setup,
    executable: Executable,
    lone: (ids: readonly number[]) => Promise<Float32Array>,
  ) => Promise<readonly string[]>,
): ConformanceCheck {
  return {
    group: "page moves",
    needsExact: true,
    name,
    run: async (create: BackendFactory) => {
      const setup = tinyDecoder(kind, 41);
      const lone = async (ids: readonly number[]) => {
        const executable = prepare(setup, create());
        const { logits } = await new StepDriver(executable, setup.options).step([
          { slot: 0, tokenIds: ids, wants: "logits" },
        ]);
        await executable.close();
        return logits;
      };
      const executable = prepare(setup, create());
      const failures = await run(setup, executable, lone);
      await executable.close();
      return failures;
    },
  };
}

async function forks(
  { plan, options }: Setup,
  executable: Executable,
  lone: (ids: readonly number[]) => Promise<Float32Array>,
): Promise<readonly string[]> {
  const random = new Random(1);
  const prefix = random.tokenIds(prefixLength, plan.vocabSize);
  const tails = [random.tokenIds(tailLength, plan.vocabSize), random.tokenIds(tailLength, plan.vocabSize)];
  const driver = new StepDriver(executable, options);
  await driver.step([{ slot: 0, tokenIds: prefix, wants: "nothing" }]); // takes pages 1 and 2
  driver.start(1);
  const step = driver.pack(tails.map((tokenIds, slot) => ({ slot, tokenIds, wants: "logits" as const })));
  const copy = 50;
  const { logits } = await executable.submit({
    ...step,
    rowPositions: Int32Array.of(prefixLength, prefixLength),
    pageAppends: Int32Array.of(1, 0, 0, 1, 1, 0, 1, copy),
    pageCopies: Int32Array.of(0, 2, copy),
  });
  const branches = await Promise.all(tails.map((tail) => lone([...prefix, ...tail])));
  return branches.flatMap((branch, slot) => {
    const size = tailLength * plan.vocabSize;
    return (
      differentBits(`branch ${slot}`, logits.subarray(slot * size, (slot + 1) * size), branch.subarray(-size)) ?? []
    );
  });
}

async function restarts(
  { plan, options }: Setup,
  executable: Executable,
  lone: (ids: readonly number[]) => Promise<Float32Array>,
): Promise<readonly string[]> {
  const random = new Random(2);
  const [first, second] = [random.tokenIds(40, plan.vocabSize), random.tokenIds(25, plan.vocabSize)];
  const driver = new StepDriver(executable, options);
  await driver.step([{ slot: 0, tokenIds: first, wants: "sample" }]);
  driver.start(0);
  const { logits } = await driver.step([{ slot: 0, tokenIds: second, wants: "logits" }]);
  const difference = differentBits("the slot's second sequence", logits, await lone(second));
  return difference === undefined ? [] : [difference];
}

async function releases(
  { plan, options }: Setup,
  executable: Executable,
  lone: (ids: readonly number[]) => Promise<Float32Array>,
): Promise<readonly string[]> {
  const random = new Random(3);
  const ids = random.tokenIds(60, plan.vocabSize);
  const driver = new StepDriver(executable, options);
  await driver.step([{ slot: 0, tokenIds: ids.slice(0, 50), wants: "nothing" }]); // takes pages 1 to 4
  // The window of 19 tokens behind position 50 begins at 32: pages 1 and 2 are free. Slot 1 overwrites page 1.
  const step = driver.pack([
    { slot: 0, tokenIds: ids.slice(50), wants: "logits" },
    { slot: 1, tokenIds: random.tokenIds(16, plan.vocabSize), wants: "nothing" },
  ]);
  const pageAppends = Int32Array.of(0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1);
  const { logits } = await executable.submit({ ...step, pageAppends });
  const expected = (await lone(ids)).subarray(50 * plan.vocabSize);
  const difference = differentBits("tokens past the released pages", logits, expected);
  return difference === undefined ? [] : [difference];
}
