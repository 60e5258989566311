import { PlanBuilder } from "../../plan-builder.ts";
import { sample } from "../../reference/sampler.ts";
import type { SamplingParameters } from "../../step.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { Random } from "../random.ts";
import { type DriverRow, StepDriver } from "../step-driver.ts";

const rowsPerStep = 64;
const stepCount = 16;
// Log-probabilities are float32 of double sums; exponentials of two libraries differ in the last place.
const logprobTolerance = 2e-6;

/** The same logits, parameters and history give the same token and log-probabilities as the reference sampler. */
export const samplerChecks: readonly ConformanceCheck[] = [17, 105, 2003].map((vocabSize, index) => ({
  group: "sampler",
  name: `draws the reference's tokens for ${rowsPerStep * stepCount} random parameter sets over ${vocabSize} ids`,
  run: (create: BackendFactory) => compareDraws(create, vocabSize, 1000 + index),
}));

async function compareDraws(create: BackendFactory, vocabSize: number, seed: number): Promise<readonly string[]> {
  const random = new Random(seed);
  const builder = new PlanBuilder({ name: "sampler", vocabSize, contextLength: 8 });
  const input = builder.input("values", vocabSize);
  builder.logits(builder.gatherRows("logits", input));
  const options = {
    pageTokens: 16,
    pageCounts: [],
    maxRows: rowsPerStep,
    maxTokens: rowsPerStep,
    maxLogitRows: rowsPerStep,
  };
  const executable = create().compile(builder.build(), options);
  const driver = new StepDriver(executable, options);
  const failures: string[] = [];
  for (let step = 0; step < stepCount && failures.length < 5; step++) {
    const values = randomLogits(random, vocabSize);
    executable.writeBuffer(input, values);
    const rows: DriverRow[] = [];
    const cases = Array.from({ length: rowsPerStep }, (_, slot) => {
      const promptIds = random.tokenIds(random.integer(0, 12), vocabSize);
      const outputIds = random.tokenIds(random.integer(0, 12), vocabSize);
      const sampling = randomSampling(random, vocabSize);
      driver.start(slot, sampling, { promptIds, outputIds });
      rows.push({ slot, tokenIds: [0], wants: "sample" });
      return { sampling, promptIds, outputIds };
    });
    const outputs = await driver.step(rows);
    cases.forEach(({ sampling, ...history }, row) => {
      const expected = sample(values.subarray(row * vocabSize, (row + 1) * vocabSize), sampling, history);
      const where = `seed ${seed}, step ${step}, row ${row}, ${JSON.stringify(sampling)}`;
      if (outputs.sampledIds[row] !== expected.id) {
        failures.push(`drew ${outputs.sampledIds[row]}, the reference ${expected.id} (${where})`);
      }
      if (!isClose(outputs.sampledLogprobs[row]!, expected.logprob)) {
        failures.push(`log-probability ${outputs.sampledLogprobs[row]}, the reference ${expected.logprob} (${where})`);
      }
      const [top, expectedTop] = [outputs.topLogprobs[row] ?? [], expected.top ?? []];
      const agree =
        top.length === expectedTop.length &&
        expectedTop.every(([id, logprob], i) => top[i]![0] === id && isClose(top[i]![1], logprob));
      if (!agree) failures.push(`top ${JSON.stringify(top)}, the reference ${JSON.stringify(expectedTop)} (${where})`);
    });
  }
  await executable.close();
  return failures;
}

function isClose(actual: number, expected: number): boolean {
  if (Number.isNaN(expected)) return Number.isNaN(actual);
  return Math.abs(actual - expected) <= logprobTolerance * Math.max(1, Math.abs(expected));
}

/** `[rowsPerStep, vocabSize]`; some rows are flat, some peaked, some full of ties. */
function randomLogits(random: Random, vocabSize: number): Float32Array {
  const values = new Float32Array(rowsPerStep * vocabSize);
  for (let row = 0; row < rowsPerStep; row++) {
    const deviation = random.pick([0.1, 2, 10]);
    const grain = random.pick([0, 0, 0.5]);
    for (let id = 0; id < vocabSize; id++) {
      const value = random.normal() * deviation;
      values[row * vocabSize + id] = grain === 0 ? value : Math.round(value / grain) * grain;
    }
  }
  return values;
}

function randomSampling(random: Random, vocabSize: number): SamplingParameters {
  const sometimes = <T>(value: T, otherwise: T): T => (random.next() < 0.4 ? value : otherwise);
  return {
    temperature: random.pick([0, 0.3, 0.8, 1, 1.7]),
    topK: sometimes(random.integer(1, vocabSize + 3), 0),
    topP: sometimes(0.05 + 0.94 * random.next(), 1),
    minP: sometimes(random.next() * 0.3, 0),
    repetitionPenalty: sometimes(0.7 + random.next(), 1),
    frequencyPenalty: sometimes(random.normal(), 0),
    presencePenalty: sometimes(random.normal(), 0),
    seed: [random.integer(0, 0xffffffff), random.integer(0, 0xffffffff)],
    logitBias: sometimes(
      random.tokenIds(3, vocabSize).map((id) => [id, random.normal() * 5] as const),
      [],
    ),
    minTokens: sometimes(random.integer(0, 14), 0),
    suppressedIds: sometimes(random.tokenIds(2, vocabSize), []),
    topLogprobs: sometimes(random.integer(0, Math.min(20, vocabSize)), -1),
  };
}
