// Runs the conformance suite and the golden models on a CUDA device in both of its modes, without a test runner: a GPU host
// needs only Node, this file bundled, the addon and the golden models.
//   --device cuda:N       default cuda
//   --mode MODE           deterministic or default; both when absent
//   --only TEXT           only checks whose name holds TEXT
//   --subset racecheck    every seventh check of each group and one golden model: what compute-sanitizer's racecheck, some
//                         fifty times slower, gets through in five minutes
//   --share K/N           only the K-th of N shares of the checks
//   --processes N         all N shares side by side, each in a process of its own under the program that KVANT_GPU_WRAPPER
//                         names, if it names one
//   --seconds N           no check starts after that; what was left out is counted and fails the run
//   --golden FOLDER       the golden models; default packages/models/test/golden-models
//   --worst               also the largest error of each op and mode, and of which case
// Prints one line per failure and a summary as the last line; the exit code is 0 only when all passed.
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { batchFailures } from "../../packages/engine/src/testing/batch-check.ts";
import { crowdFailures } from "../../packages/engine/src/testing/crowd-check.ts";
import { checksFor, conformanceCases, runCase } from "../../packages/kernels/src/conformance/index.ts";
import { createBackend, cudaAbsence } from "../../packages/kernels/src/index.ts";
import { goldenBf16Failures, goldenFailures } from "../../packages/models/test/golden-check.ts";
import { shareOut } from "./share-out.ts";

const { values } = parseArgs({
  options: {
    device: { type: "string", default: "cuda" },
    mode: { type: "string" },
    only: { type: "string", default: "" },
    subset: { type: "string" },
    share: { type: "string", default: "1/1" },
    processes: { type: "string" },
    seconds: { type: "string", default: "Infinity" },
    golden: { type: "string", default: "packages/models/test/golden-models" },
    worst: { type: "boolean", default: false },
  },
});
const { device, only, golden } = values;
const [share, shares] = values.share.split("/").map(Number) as [number, number];
if (!(share >= 1 && share <= shares)) throw new Error(`--share ${values.share}: must be K/N with K from 1 to N`);
const limitSeconds = Number(values.seconds);
if (!(limitSeconds > 0)) throw new Error(`--seconds ${values.seconds}: must be a number above 0`);
// Prime to the number of shapes per format, so that neighbours in the list of formats meet different shapes.
const subsetStride = 7;
if (values.subset !== undefined && values.subset !== "racecheck")
  throw new Error(`there is no subset ${values.subset}`);
const isSubset = values.subset === "racecheck";

const modes = [
  { name: "deterministic", deterministic: true },
  { name: "default", deterministic: false },
].filter(({ name }) => values.mode === undefined || values.mode === name);

const counts = new Map<string, { passed: number; failed: number }>();
/** Checks that the backend has no kernel for, by the reason. */
const skipped = new Map<string, number>();
const started = performance.now();
const elapsedSeconds = () => (performance.now() - started) / 1000;
/** Checks dealt out so far, to whichever share. */
let dealt = 0;
let leftOut = 0;

const absence = device.startsWith("cuda") ? cudaAbsence() : undefined;
if (absence !== undefined) {
  console.log(`SKIPPED: the GPU tests: cuda is absent: ${absence}`);
} else if (values.processes !== undefined) {
  const processes = Number(values.processes);
  if (!(Number.isInteger(processes) && processes > 0))
    throw new Error(`--processes ${values.processes}: must be 1 or more`);
  const wrapper = (process.env.KVANT_GPU_WRAPPER ?? "").split(" ").filter((word) => word !== "");
  const args = Object.entries({ ...values, processes: false, share: false }).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : value === false ? [] : [`--${name}`, value],
  );
  const node = [process.execPath, ...process.execArgv, process.argv[1]!, ...args];
  process.exitCode = await shareOut(processes, (which) => [...wrapper, ...node, "--share", which]);
} else {
  console.log(`device ${device}: ${createBackend(device).info.tier}`);
  for (const mode of modes) await runMode(mode);
  summarize();
}

async function runMode({ name, deterministic }: (typeof modes)[number]): Promise<void> {
  const { arithmetic, name: backend } = createBackend(device, { deterministic }).info;
  const create = (options = {}) => createBackend(device, { deterministic, ...options });
  const indices = new Map<string, number>();
  for (const check of checksFor(arithmetic)) {
    const index = indices.get(check.group) ?? 0;
    indices.set(check.group, index + 1);
    if (isSubset && index % subsetStride !== 0) continue;
    const absence = check.absentOn?.[backend];
    if (absence !== undefined) {
      skipped.set(absence, (skipped.get(absence) ?? 0) + 1);
      continue;
    }
    await report(name, check.group, check.name, () => check.run(create));
  }
  for (const model of isSubset ? ["llama"] : readdirSync(golden).sort()) {
    const folder = resolve(golden, model);
    await report(name, "golden models", `${model} in fp32`, () => goldenFailures(folder, create()));
    await report(name, "golden models", `${model} in bf16`, () => goldenBf16Failures(folder, create()));
  }
  if (!isSubset) await (arithmetic === "exact" ? runExactBatches(name, deterministic) : runRoundedBatches(name));
  if (values.worst) await printWorst(name, create);
}

async function runExactBatches(mode: string, deterministic: boolean): Promise<void> {
  for (const [weights, kvFormat] of [
    ["fp32", "fp32"],
    ["bf16", "bf16"],
    ["int8-channel", "int8"],
    ["e4m3-channel", "e4m3"],
    ["int4-g32", "int8"],
  ] as const) {
    // Enough for 64 sequences, and little enough for many processes on one device.
    const options = {
      model: resolve(golden, "llama"),
      device,
      deterministic,
      weights,
      kvFormat,
      kvPages: 1024,
      warmUp: true,
    };
    await report(mode, "a batch of 64", `equals each alone, ${weights} weights, ${kvFormat} KV`, () =>
      batchFailures(options),
    );
  }
}

/** Log probabilities may move by a few times what an H100 shows: 0.008, 0.023 and 0.095 by activations. */
async function runRoundedBatches(mode: string): Promise<void> {
  const limits = { bf16: 0.04, fp16: 0.04, int8: 0.1, e4m3: 0.4 };
  for (const [weights, activations, kvFormat] of [
    ["bf16", "bf16", "bf16"],
    ["fp16", "fp16", "fp16"],
    ["int8", "int8", "int8"],
    ["int8-channel", "bf16", "e5m2"],
    ["e4m3", "e4m3", "e4m3"],
    ["int4-g32", "int8", "int8"],
    ["int4-g128", "bf16", "int8"],
    ["nvfp4", "bf16", "e4m3"],
  ] as const) {
    const options = { device, weights, activations, kvFormat, kvPages: 2048, warmUp: true };
    await report(mode, "a batch of 96", `is near each alone, ${weights} x ${activations}, ${kvFormat} KV`, () =>
      crowdFailures(options, limits[activations]),
    );
  }
}

async function report(mode: string, group: string, name: string, run: () => Promise<readonly string[]>): Promise<void> {
  const title = `${mode}: ${group}: ${name}`;
  if (!title.includes(only) || !isOfShare(dealt++)) return;
  if (elapsedSeconds() > limitSeconds) {
    leftOut++;
    return;
  }
  const sentences = await run().catch((error: unknown) => [String(error)]);
  const key = `${mode}: ${group}`;
  const count = counts.get(key) ?? { passed: 0, failed: 0 };
  count[sentences.length === 0 ? "passed" : "failed"]++;
  counts.set(key, count);
  if (sentences.length > 0) console.log(`FAILED ${title}: ${sentences.slice(0, 2).join("; ").slice(0, 300)}`);
}

/** Neighbours cost alike and shapes come back in turn: multiples of the golden ratio give every share some of each. */
function isOfShare(index: number): boolean {
  const fraction = (Math.imul(index, 0x9e3779b1) >>> 0) / 2 ** 32;
  return Math.floor(fraction * shares) === share - 1;
}

/** What budgets are tuned by: the largest error per op, and where it was met. */
async function printWorst(mode: string, create: () => ReturnType<typeof createBackend>): Promise<void> {
  for (const { op, cases } of conformanceCases) {
    const worst = new Map<string, { error: number; name: string; limit: number }>();
    for (const each of cases) {
      if (!`${mode}: ${op}: ${each.name}`.includes(only)) continue;
      const { worstError, limit } = await runCase(each, create()).catch(() => ({ worstError: Infinity, limit: 0 }));
      // `attention int8, scales ...` and `linear int8-g32 x bf16 ...` are budgeted by format.
      const kind = / x (\S+)/.exec(each.name)?.[1] ?? /^\S+ (\w+)/.exec(each.name)?.[1] ?? "";
      if (worstError >= (worst.get(kind)?.error ?? -1)) worst.set(kind, { error: worstError, name: each.name, limit });
    }
    for (const [kind, { error, name, limit }] of worst) {
      console.log(`worst ${mode}: ${op} ${kind}: ${error.toExponential(2)} of ${limit}: ${name}`);
    }
  }
}

function summarize(): void {
  let [passed, failed] = [0, 0];
  for (const [reason, count] of skipped) console.log(`SKIPPED ${count} checks: ${reason}`);
  for (const [key, count] of counts) {
    console.log(`${key}: ${count.passed} passed, ${count.failed} failed`);
    passed += count.passed;
    failed += count.failed;
  }
  if (leftOut > 0) console.log(`LEFT OUT ${leftOut} checks after ${limitSeconds} s`);
  console.log(`${passed} passed, ${failed} failed in ${elapsedSeconds().toFixed(0)} s`);
  // A share of few checks may get none; whether all shares together ran any is for the process that dealt them out.
  const ranNothing = passed === 0 && shares === 1;
  process.exitCode = failed > 0 || leftOut > 0 || ranNothing ? 1 : 0;
}
