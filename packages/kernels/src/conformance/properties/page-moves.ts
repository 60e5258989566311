import type { Executable } from "../../backend.ts";
import { swapDirections } from "../../step.ts";
import { type CaseSetup, prepare } from "../conformance-case.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { Random } from "../random.ts";
import { StepDriver } from "../step-driver.ts";
import { type TinyDecoder, tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";
import { differentBits } from "./compare-bits.ts";

type Setup = Omit<CaseSetup, "steps">;

const [prefixLength, tailLength] = [20, 9];

/** What the cache manager asks of pages beside appending: sharing, copy-on-write, release, swap, and slots that start over. */
export const pageMoveChecks: readonly ConformanceCheck[] = [
  check("a fork shares full pages, copies the last one, and both branches go on as if alone", tinyDecoders[3]!, forks),
  check("a slot that starts over forgets its first sequence", tinyDecoders[5]!, restarts),
  check("pages behind a window can go to another sequence", tinyDecoders[1]!, releases),
  ...[0, 3, 5].map((kind) =>
    check(
      `pages swapped out and in are the same bytes, ${tinyDecoders[kind]!.name}, and their sequence goes on as if alone`,
      tinyDecoders[kind]!,
      swaps,
    ),
  ),
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

async function swaps(
  { plan, options }: Setup,
  executable: Executable,
  lone: (ids: readonly number[]) => Promise<Float32Array>,
): Promise<readonly string[]> {
  const random = new Random(4);
  const [length, tailLength] = [40, 9];
  const ids = random.tokenIds(length + tailLength, plan.vocabSize);
  const driver = new StepDriver(executable, options);
  await driver.step([{ slot: 0, tokenIds: ids.slice(0, length), wants: "nothing" }]); // takes pages 1 to 3
  const original = [1, 2, 3].map((page) => executable.readPage(0, page));

  const { out, in: into } = swapDirections;
  // The step that takes the pages out overwrites two of them with another sequence, and the next is submitted while it runs.
  const other = driver.pack([{ slot: 1, tokenIds: random.tokenIds(25, plan.vocabSize), wants: "nothing" }]);
  const overwriting = executable.submit({
    ...other,
    pageAppends: Int32Array.of(1, 0, 0, 1, 1, 0, 1, 2),
    pageSwaps: Int32Array.of(...[0, 1, 5, out], ...[0, 2, 6, out], ...[0, 3, 0, out]),
  });
  driver.start(0);
  const resumed = driver.pack([{ slot: 0, tokenIds: ids.slice(length), wants: "logits" }]);
  const resuming = executable.submit({
    ...resumed,
    rowPositions: Int32Array.of(length),
    pageAppends: Int32Array.of(...[0, 0, 0, 40], ...[0, 0, 1, 41], ...[0, 0, 2, 3], ...[0, 0, 3, 42]),
    // Host page 5 is free as soon as its page has come in, page 40 can be copied at once, and page 3 swapped in is written on.
    pageSwaps: Int32Array.of(...[0, 40, 5, into], ...[0, 41, 6, into], ...[0, 3, 0, into], ...[0, 1, 5, out]),
    pageCopies: Int32Array.of(0, 40, 50),
  });
  await overwriting;
  const { logits } = await resuming;
  const overwritten = executable.readPage(0, 1);
  await executable.submit({ ...driver.pack([]), pageSwaps: Int32Array.of(0, 51, 5, into) });

  const pages: readonly (readonly [what: string, page: number, expected: Uint8Array])[] = [
    ["the first page", 40, original[0]!],
    ["the second page", 41, original[1]!],
    ["the copy of the first page", 50, original[0]!],
    ["the page that went out when the first had come in", 51, overwritten],
  ];
  const differences = pages.flatMap(([what, page, expected]) => {
    const same = Buffer.compare(executable.readPage(0, page), expected) === 0;
    return same ? [] : [`${what} is not what went out`];
  });
  if (Buffer.compare(overwritten, original[0]!) === 0) differences.push("the first page was never overwritten");
  const expected = (await lone(ids)).subarray(length * plan.vocabSize);
  const difference = differentBits("tokens after the swap", logits, expected);
  return difference === undefined ? differences : [...differences, difference];
}
