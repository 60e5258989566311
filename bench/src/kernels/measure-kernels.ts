import { type ModelConfig, namedShape } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { formats, parseKvFormat, parseWeightFormat, weightBytes, weightFormatName } from "@kvant/formats";
import { createCpuBackend, loadAddon, planCost } from "@kvant/kernels";
import { activationsOf, resolveScheme } from "@kvant/models";
import { median } from "../median.ts";
import {
  elementwiseCase,
  type KernelCase,
  type KernelOp,
  kernelOps,
  kvCase,
  linearCase,
  matricesOf,
} from "./kernel-case.ts";
import { type KernelError, kernelError } from "./kernel-error.ts";
import { KernelRun } from "./kernel-run.ts";

export interface MeasureKernelsOptions {
  /** A named shape, e.g. `tinyllama-1.1b`; its layer gives the sizes. */
  readonly shape: string;
  /** Names of `kernelOps`. */
  readonly ops: readonly string[];
  /** Weight formats of `linear`. */
  readonly weights: readonly string[];
  /** Activation format of `linear`; default: what the weight format implies. */
  readonly activations?: string;
  /** Formats of `attention` and `kvWrite`. */
  readonly kvFormats: readonly string[];
  /** Tokens per step, one row for each. */
  readonly tokens: readonly number[];
  /** Live positions that `attention` sees. */
  readonly context: number;
  readonly tier?: string;
  readonly threads?: number;
  /** Rounds of probe, probe, kernel. */
  readonly rounds: number;
}

/** Rates are of the median step; probes ran in turn with it. */
export interface KernelMeasurement extends KernelError {
  readonly op: KernelOp;
  readonly name: string;
  readonly shape: string;
  readonly variant: string;
  readonly weights: string | undefined;
  readonly activations: string | undefined;
  readonly kvFormat: string | undefined;
  readonly tokens: number;
  readonly context: number;
  readonly tier: string;
  readonly threads: number;
  readonly copies: number;
  /** Of one op. */
  readonly seconds: number;
  /** Weights and live KV once; activations too where the op has neither. */
  readonly bytes: number;
  readonly operations: number;
  readonly gigabytesPerSecond: number;
  readonly gigaOperationsPerSecond: number;
  readonly probeReadGigabytesPerSecond: number;
  readonly probeComputeGigaOperationsPerSecond: number;
  /** What bounds the op by the probes: the memory its bytes come from, or the multipliers. */
  readonly bound: "memory" | "compute";
  /** The time that the bound alone would take over the time taken. */
  readonly percentOfProbe: number;
}

/** Copies rotate through this much memory: three times the largest last-level cache of the machines we tune for. */
const rotatedBytes = 96 * 2 ** 20;
const probeBytes = 256 * 2 ** 20;
const mostCopies = 256;
/** Operations of one timed step; longer ones would only take time. */
const mostOperations = 40e9;
const stepsPerRound = 3;

/** Measures kernels one by one on the CPU backend, each in a plan of its own. Yields rows as they are ready. */
export async function* measureKernels(options: MeasureKernelsOptions): AsyncGenerator<KernelMeasurement> {
  const { shape, tier, threads } = options;
  const backend = createCpuBackend({ tier, threads });
  for (const each of kernelCases(namedShape(shape), options)) {
    const error = await kernelError(each, backend);
    const copies = copiesOf(each);
    const plan = each.record(copies);
    const run = await KernelRun.open(backend, plan, each.context - each.tokens, each.tokens);
    try {
      const times: number[] = [];
      const reads: number[] = [];
      const peaks: number[] = [];
      for (let round = 0; round < options.rounds; round++) {
        reads.push(median(loadAddon().probeRead(probeBytes, backend.info.threads, 3)));
        const kind = each.activations === "int8" ? "int8" : "float32";
        peaks.push(median(loadAddon().probeCompute(kind, backend.info.tier, backend.info.threads, 3)));
        for (let step = 0; step < stepsPerRound; step++) times.push((await run.step()) / copies);
      }
      const cost = planCost(plan, { tokens: each.tokens, contexts: [each.context] });
      const kept = cost.weightBytes + cost.kvBytes;
      const isElementwise = cost.kvBytes === 0 && each.op !== "linear";
      const bytes = (kept + (isElementwise ? cost.activationBytes : 0)) / copies;
      const operations = cost.operations / copies;
      const [seconds, read, peak] = [median(times), median(reads), median(peaks)];
      const bound = operations / peak > bytes / read ? "compute" : "memory";
      yield {
        op: each.op,
        name: each.name,
        shape,
        variant: run.variants.at(-1) ?? "",
        weights: each.weights === undefined ? undefined : weightFormatName(each.weights),
        activations: each.activations,
        kvFormat: each.kvFormat,
        tokens: each.tokens,
        context: each.context,
        tier: backend.info.tier,
        threads: backend.info.threads,
        copies,
        seconds,
        bytes,
        operations,
        gigabytesPerSecond: bytes / seconds / 1e9,
        gigaOperationsPerSecond: operations / seconds / 1e9,
        probeReadGigabytesPerSecond: read / 1e9,
        probeComputeGigaOperationsPerSecond: peak / 1e9,
        bound,
        percentOfProbe: (100 * Math.max(bytes / read, operations / peak)) / seconds,
        ...error,
      };
    } finally {
      await run.close();
    }
  }
}

function kernelCases(config: ModelConfig, options: MeasureKernelsOptions): readonly KernelCase[] {
  const ops = options.ops.map((name) => {
    const op = kernelOps.find((each) => each === name);
    if (op !== undefined) return op;
    throw new KvantError("INVALID_ARGUMENT", `no kernel is called "${name}"; there are ${kernelOps.join(", ")}`);
  });
  return ops.flatMap((op) => options.tokens.flatMap((tokens) => casesOf(op, tokens, config, options)));
}

function casesOf(
  op: KernelOp,
  tokens: number,
  config: ModelConfig,
  { weights, activations, kvFormats, context }: MeasureKernelsOptions,
): readonly KernelCase[] {
  if (op === "linear") {
    return weights.flatMap((name) => {
      const format = parseWeightFormat(name);
      const scheme = resolveScheme({ weights: name, ...(activations === undefined ? {} : { activations }) }, "bf16");
      return matricesOf(config).map((matrix) => {
        const { codes, scales } = weightBytes(format, matrix.rows, matrix.cols);
        return linearCase(matrix, format, activationsOf(format, scheme), tokens, codes + scales);
      });
    });
  }
  if (op === "attention" || op === "kvWrite") {
    return kvFormats.map((name) => {
      const format = parseKvFormat(name);
      return kvCase(op, config, format, formats[format].bits, tokens, Math.max(context, tokens));
    });
  }
  return [elementwiseCase(op, config, parseWeightFormat("fp32"), parseWeightFormat("bf16"), tokens)];
}

function copiesOf(each: KernelCase): number {
  const one = planCost(each.recordSlice(), { tokens: each.tokens, contexts: [each.context] });
  // A slice of a matrix says nothing about its operations; they follow from its bytes only for KV ops.
  const operations = each.op === "attention" ? one.operations : 0;
  const wanted = each.bytesPerCopy === 0 ? 32 : Math.ceil(rotatedBytes / each.bytesPerCopy);
  const affordable = operations === 0 ? mostCopies : Math.max(2, Math.floor(mostOperations / operations));
  return Math.max(2, Math.min(wanted, affordable, mostCopies));
}
