import type { CompileOptions } from "../../backend.ts";
import { FROM_PREVIOUS_STEP, type SamplingParameters, type StepOutputs } from "../../step.ts";
import { prepare } from "../conformance-case.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { Random } from "../random.ts";
import { greedy, StepDriver } from "../step-driver.ts";
import { tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";

const stepCount = 24;
const random = { ...greedy, temperature: 0.9, repetitionPenalty: 1.2, frequencyPenalty: 0.3, seed: [7, 11] } as const;
export const samplings: readonly (readonly [name: string, sampling: SamplingParameters])[] = [
  ["greedy", greedy],
  ["random with penalties", random],
];

/** A row that takes its token from the step before, still in flight, continues as if it had waited for the token. */
export const inFlightChecks: readonly ConformanceCheck[] = samplings.map(([name, sampling]) => ({
  group: "two steps in flight",
  name: `FROM_PREVIOUS_STEP continues a ${name} sequence as explicit ids do`,
  run: async (create: BackendFactory) => {
    const waiting = await generate(create, sampling, { pipelined: false });
    const pipelined = await generate(create, sampling, { pipelined: true });
    return differences("waiting", waiting, "two in flight", pipelined);
  },
}));

export function differences(name: string, ids: number[][], otherName: string, otherIds: number[][]): readonly string[] {
  if (JSON.stringify(ids) === JSON.stringify(otherIds)) return [];
  return [`${name} gives ${JSON.stringify(ids)}, ${otherName} ${JSON.stringify(otherIds)}`];
}

export interface GenerateOptions {
  /** Two steps in flight. */
  readonly pipelined: boolean;
  readonly warmUp?: boolean;
  readonly limits?: Partial<CompileOptions>;
  /** Tokens of the prompts; default 3 and 20. */
  readonly prompts?: readonly number[];
  /** Tokens of each prompt that come in a step before, which samples nothing; default 0. */
  readonly ahead?: number;
}

/** Two rows of different lengths; returns their sampled ids. */
export async function generate(
  create: BackendFactory,
  sampling: SamplingParameters,
  { pipelined, warmUp = false, limits = {}, prompts: lengths = [3, 20], ahead = 0 }: GenerateOptions,
): Promise<number[][]> {
  const decoder = tinyDecoder(tinyDecoders[3]!, 5);
  const setup = { ...decoder, options: { ...decoder.options, ...limits } };
  const prompts = lengths.map((length) => new Random(length).tokenIds(length, setup.plan.vocabSize));
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
  const rows = (next: (slot: number) => readonly number[], wants: "sample" | "nothing" = "sample") =>
    prompts.map((_, slot) => ({ slot, tokenIds: next(slot), wants }));
  if (ahead > 0) await driver.step(rows((slot) => prompts[slot]!.slice(0, ahead), "nothing"));
  let running = driver.step(rows((slot) => prompts[slot]!.slice(ahead)));
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
