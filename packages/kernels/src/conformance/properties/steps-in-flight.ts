import { FROM_PREVIOUS_STEP, type SamplingParameters, type StepOutputs } from "../../step.ts";
import { prepare } from "../conformance-case.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { Random } from "../random.ts";
import { greedy, StepDriver } from "../step-driver.ts";
import { tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";

const stepCount = 24;
const random = { ...greedy, temperature: 0.9, repetitionPenalty: 1.2, frequencyPenalty: 0.3, seed: [7, 11] } as const;
const samplings: readonly (readonly [name: string, sampling: SamplingParameters])[] = [
  ["greedy", greedy],
  ["random with penalties", random],
];

/** A row that takes its token from the step before, still in flight, continues as if it had waited for the token. */
const pipelinedChecks: readonly ConformanceCheck[] = samplings.map(([name, sampling]) => ({
  group: "two steps in flight",
  name: `FROM_PREVIOUS_STEP continues a ${name} sequence as explicit ids do`,
  run: async (create: BackendFactory) => {
    const waiting = await generate(create, sampling, { pipelined: false });
    const pipelined = await generate(create, sampling, { pipelined: true });
    return differences("waiting", waiting, "two in flight", pipelined);
  },
}));

/** Warming up computes with no sequence, so it leaves nothing behind. */
const warmUpChecks: readonly ConformanceCheck[] = samplings.map(([name, sampling]) => ({
  group: "two steps in flight",
  name: `a ${name} sequence is the same after a warm-up`,
  run: async (create: BackendFactory) => {
    const cold = await generate(create, sampling, { pipelined: true });
    const warm = await generate(create, sampling, { pipelined: true, warmUp: true });
    return differences("cold", cold, "warm", warm);
  },
}));

export const inFlightChecks: readonly ConformanceCheck[] = [...pipelinedChecks, ...warmUpChecks];

function differences(name: string, ids: number[][], otherName: string, otherIds: number[][]): readonly string[] {
  if (JSON.stringify(ids) === JSON.stringify(otherIds)) return [];
  return [`${name} gives ${JSON.stringify(ids)}, ${otherName} ${JSON.stringify(otherIds)}`];
}

/** Two rows of different lengths; returns their sampled ids. */
async function generate(
  create: BackendFactory,
  sampling: SamplingParameters,
  { pipelined, warmUp = false }: { readonly pipelined: boolean; readonly warmUp?: boolean },
): Promise<number[][]> {
  const setup = tinyDecoder(tinyDecoders[3]!, 5);
  const prompts = [3, 20].map((length) => new Random(length).tokenIds(length, setup.plan.vocabSize));
  const executable = prepare(setup, create());
  if (warmUp) executable.warmUp?.();
  const driver = new StepDriver(executable, setup.options);
  const ids: number[][] = prompts.map(() => []);
  const settle = ({ sampledIds }: StepOutputs) => {
    for (const [row, id] of sampledIds.entries()) ids[row]!.push(id);
  };
  prompts.forEach((promptIds, slot) => {
    driver.start(slot, sampling, { promptIds });
  });
  const rows = (next: (slot: number) => readonly number[]) =>
    prompts.map((_, slot) => ({ slot, tokenIds: next(slot), wants: "sample" as const }));
  let running = driver.step(rows((slot) => prompts[slot]!));
  for (let step = 1; step < stepCount; step++) {
    if (pipelined) {
      const next = driver.step(rows(() => [FROM_PREVIOUS_STEP]));
      settle(await running);
      running = next;
    } else {
      settle(await running);
      running = driver.step(rows((slot) => [ids[slot]!.at(-1)!]));
    }
  }
  settle(await running);
  await executable.close();
  return ids;
}
