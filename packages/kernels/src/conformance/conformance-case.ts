import type { QuantizedTensor } from "@kvant/formats";
import type { Backend, CompileOptions, Executable, WeightSource } from "../backend.ts";
import type { BufferId, Plan, WeightId } from "../plan.ts";
import { createReferenceBackend } from "../reference/reference-backend.ts";
import type { StepOutputs } from "../step.ts";
import type { AbsentKernels } from "./absent-kernels.ts";
import type { ErrorBudget } from "./error-budgets.ts";
import { type DriverRow, StepDriver } from "./step-driver.ts";

/** One step of a case: what the caller writes, and the rows. */
export interface CaseStep {
  readonly inputs: ReadonlyMap<BufferId, Float32Array>;
  readonly rows: readonly DriverRow[];
}

/** A plan with everything it needs to run. */
export interface CaseSetup {
  readonly plan: Plan;
  readonly options: CompileOptions;
  readonly weights: ReadonlyMap<WeightId, Float32Array>;
  /** Weights that arrive as codes. */
  readonly codes?: ReadonlyMap<WeightId, QuantizedTensor> | undefined;
  readonly steps: readonly CaseStep[];
}

/** One case as data: a plan, its inputs, and how close a backend must come to the reference. */
export interface ConformanceCase {
  /** What is computed, of which formats and shapes. */
  readonly name: string;
  readonly budget: ErrorBudget;
  /** In its place where the backend's arithmetic is `tensor-cores`. */
  readonly tensorCoreBudget?: ErrorBudget | undefined;
  /** Whether all pages must equal the reference's, byte for byte: inputs reach them without rounding. */
  readonly exactPages: boolean;
  readonly absentOn?: AbsentKernels | undefined;
  readonly setup: () => CaseSetup;
}

/** What a backend made of a case. */
export interface CaseReport {
  readonly name: string;
  /** Sentences; empty when the backend conforms. */
  readonly failures: readonly string[];
  /** The largest error met, in the budget's measure. */
  readonly worstError: number;
  /** The largest allowed. */
  readonly limit: number;
  readonly variants: readonly string[];
}

interface CaseResult {
  readonly buffers: ReadonlyMap<string, Float32Array>;
  readonly steps: readonly StepOutputs[];
  readonly pages: readonly Uint8Array[];
  readonly variants: readonly string[];
}

/** Runs a case on a backend and on the reference, and compares all that can be seen. */
export async function runCase(conformanceCase: ConformanceCase, backend: Backend): Promise<CaseReport> {
  const setup = conformanceCase.setup();
  const expected = await execute(setup, createReferenceBackend());
  const actual = await execute(setup, backend);
  const { budget, tensorCoreBudget } = conformanceCase;
  const { limit, reason } = backend.info.arithmetic === "exact" ? budget : (tensorCoreBudget ?? budget);
  const failures: string[] = [];
  let worstError = 0;
  const compare = (what: string, a: Float32Array, e: Float32Array) => {
    const error = largestError(a, e);
    worstError = Math.max(worstError, error);
    if (error <= limit) return;
    failures.push(`${what}: error ${error.toExponential(2)} exceeds ${limit} (${reason})`);
  };
  for (const [name, values] of expected.buffers) compare(`buffer ${name}`, actual.buffers.get(name)!, values);
  expected.steps.forEach((step, index) => {
    const other = actual.steps[index]!;
    compare(`logits of step ${index}`, other.logits, step.logits);
    compare(`scores of step ${index}`, other.scores, step.scores);
    if (other.saturations !== step.saturations) {
      failures.push(`step ${index} counts ${other.saturations} saturations, the reference ${step.saturations}`);
    }
  });
  if (conformanceCase.exactPages) failures.push(...differentPages(actual.pages, expected.pages));
  return { name: conformanceCase.name, failures, worstError, limit, variants: actual.variants };
}

/** A float32 weight as a source. */
export function floatSource(values: Float32Array): WeightSource {
  return { dtype: "fp32", data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

/** Compiles a setup and loads its weights. */
export function prepare({ plan, options, weights, codes }: Omit<CaseSetup, "steps">, backend: Backend): Executable {
  const executable = backend.compile(plan, options);
  for (const [id, values] of weights) executable.loadWeight(id, floatSource(values));
  for (const [id, tensor] of codes ?? []) executable.loadQuantized(id, 0, tensor);
  return executable;
}

async function execute(setup: CaseSetup, backend: Backend): Promise<CaseResult> {
  const { plan, options } = setup;
  const executable = prepare(setup, backend);
  const driver = new StepDriver(executable, options);
  const buffers = new Map<string, Float32Array>();
  const steps: StepOutputs[] = [];
  for (const [index, step] of setup.steps.entries()) {
    for (const [id, values] of step.inputs) executable.writeBuffer(id, values);
    steps.push(await driver.step(step.rows));
    const tokens = step.rows.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
    const logitRows = step.rows.reduce((sum, row) => sum + logitRowsOf(row), 0);
    for (const id of plan.outputs) {
      const { name, rows } = plan.buffers[id]!;
      buffers.set(`${name} of step ${index}`, executable.readBuffer(id, rows === "tokens" ? tokens : logitRows));
    }
  }
  const pages = plan.kvGroups.flatMap((_, group) =>
    Array.from({ length: options.pageCounts[group]! - 1 }, (_, page) => executable.readPage(group, page + 1)),
  );
  await executable.close();
  return { buffers, steps, pages, variants: executable.variants };
}

function logitRowsOf({ wants, tokenIds }: DriverRow): number {
  if (wants === "nothing") return 0;
  return wants === "sample" ? 1 : tokenIds.length;
}

/** The largest difference over the largest magnitude; infinite when the lengths or a NaN differ. */
function largestError(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Infinity;
  let [difference, magnitude] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (Object.is(a, e) || a === e) {
      magnitude = Math.max(magnitude, Math.abs(e) || 0);
      continue;
    }
    if (Number.isNaN(a) || Number.isNaN(e)) return Infinity;
    difference = Math.max(difference, Math.abs(a - e));
    magnitude = Math.max(magnitude, Math.abs(e));
  }
  return difference === 0 ? 0 : difference / magnitude;
}

function differentPages(actual: readonly Uint8Array[], expected: readonly Uint8Array[]): readonly string[] {
  return expected.flatMap((page, index) => {
    const other = actual[index]!;
    const at = page.findIndex((byte, i) => byte !== other[i]);
    if (at === -1 && page.length === other.length) return [];
    return [`page ${index + 1}: byte ${at} is ${other[at]}, the reference has ${page[at]}`];
  });
}
