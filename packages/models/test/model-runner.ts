import { openCheckpoint, readModelConfig } from "@kvant/checkpoint";
import { type Backend, type CompileOptions, type Executable, FROM_PREVIOUS_STEP, type Plan } from "@kvant/kernels";
import { greedy, StepDriver } from "@kvant/kernels/conformance";
import { buildPlan } from "../src/build-plan.ts";
import { loadModel, storedDtype } from "../src/load-model.ts";
import { resolveScheme, type SchemeRequest } from "../src/scheme.ts";

/** A checkpoint folder compiled and loaded on a backend, for sequences of a handful of rows. */
export interface LoadedModel {
  readonly plan: Plan;
  readonly executable: Executable;
  readonly options: CompileOptions;
}

export function loadFolder(folder: string, backend: Backend, request: SchemeRequest): LoadedModel {
  const config = readModelConfig(folder);
  const checkpoint = openCheckpoint(folder);
  try {
    const scheme = resolveScheme(request, storedDtype(checkpoint));
    const { plan } = buildPlan(config, scheme, { scales: checkpoint });
    const pages = Math.ceil(config.contextLength / 16) + 1;
    const options: CompileOptions = {
      pageTokens: 16,
      pageCounts: plan.kvGroups.map(() => 2 * pages),
      maxRows: 4,
      maxTokens: 512,
      maxLogitRows: 512,
    };
    const executable = backend.compile(plan, options);
    loadModel(checkpoint, plan, executable);
    return { plan, executable, options };
  } finally {
    checkpoint.close();
  }
}

/** Logits `[tokens, vocabSize]` of a token sequence, fed in chunks of at most `chunk` tokens. */
export async function logitsOf(model: LoadedModel, tokenIds: readonly number[], chunk = tokenIds.length) {
  const driver = new StepDriver(model.executable, model.options);
  driver.start(0);
  const logits = new Float32Array(tokenIds.length * model.plan.vocabSize);
  for (let start = 0; start < tokenIds.length; start += chunk) {
    const part = await driver.step([{ slot: 0, tokenIds: tokenIds.slice(start, start + chunk), wants: "logits" }]);
    logits.set(part.logits, start * model.plan.vocabSize);
  }
  return logits;
}

/** The greedy continuation of a prompt, with two steps in flight as the engine keeps them. */
export async function continuation(model: LoadedModel, promptIds: readonly number[], count: number): Promise<number[]> {
  const driver = new StepDriver(model.executable, model.options);
  driver.start(0, greedy);
  const ids: number[] = [];
  let running = driver.step([{ slot: 0, tokenIds: promptIds, wants: "sample" }]);
  for (let i = 1; i < count; i++) {
    const next = driver.step([{ slot: 0, tokenIds: [FROM_PREVIOUS_STEP], wants: "sample" }]);
    ids.push((await running).sampledIds[0]!);
    running = next;
  }
  ids.push((await running).sampledIds[0]!);
  return ids;
}
