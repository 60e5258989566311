import { type ModelConfig, namedShape } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { formats, parseKvFormat, parseWeightFormat, weightBytes, weightFormatName } from "@kvant/formats";
import { createBackend, type OpCost, type Plan, planCost } from "@kvant/kernels";
import { activationsOf, resolveScheme } from "@kvant/models";
import { median } from "../median.ts";
import { type ComputeKind, probesOf } from "../probes.ts";
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
import { type KernelRows, KernelRun } from "./kernel-run.ts";

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
  /** Tokens per step; of each sequence where there are several. */
  readonly tokens: readonly number[];
  /** Sequences of `attention` and `kvWrite`, each with a context of its own. Default 1. */
  readonly sequences?: number;
  /** Tokens per page: 16 (default), 32 or 64. */
  readonly pageTokens?: number;
  /** Live positions that `attention` sees. */
  readonly context: number;
  /** `cpu` (default), `cuda` or `cuda:N`. */
  readonly device?: string;
  /** On cuda: see EngineOptions. */
  readonly deterministic?: boolean;
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
  /** Of all sequences. */
  readonly tokens: number;
  readonly sequences: number;
  readonly context: number;
  readonly device: "cpu" | "cuda";
  /** Instruction tier, or what the device is called. */
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

/** How often a kernel is repeated in a step, by where it runs. */
interface Repetition {
  /** What the read probe reads: a round takes one. */
  readonly probeBytes: number;
  /** Copies rotate through this much memory: several times the last-level cache of the machines we tune for. */
  readonly rotatedBytes: number;
  /** Of one timed step; more would only take time. */
  readonly mostOperations: number;
  readonly leastCopies: number;
  /** Of ops without weights or pages. */
  readonly copies: number;
}

const mostCopies = 256;
const repetitions: Readonly<Record<"cpu" | "cuda", Repetition>> = {
  cpu: { probeBytes: 256 * 2 ** 20, rotatedBytes: 96 * 2 ** 20, mostOperations: 40e9, leastCopies: 2, copies: 32 },
  // A step of a GPU also samples and carries its inputs, some 10 us that many copies share.
  cuda: { probeBytes: 2 ** 30, rotatedBytes: 2 ** 30, mostOperations: 4e12, leastCopies: 4, copies: 64 },
};
const stepsPerRound = 3;
/** Steps of so many rows with a token each run as one graph on a GPU. */
const mostGraphRows = 256;

/** Measures kernels one by one, each in a plan of its own. Yields rows as they are ready. */
export async function* measureKernels(options: MeasureKernelsOptions): AsyncGenerator<KernelMeasurement> {
  const { shape, tier, threads, device = "cpu", deterministic } = options;
  const backend = createBackend(device, { tier, threads, deterministic });
  const where = device.startsWith("cuda") ? "cuda" : "cpu";
  const { probeBytes } = repetitions[where];
  const probes = probesOf({ ...backend.info, device, probeBytes });
  if (probes === undefined) throw new KvantError("NATIVE_NOT_FOUND", "kernels are measured beside the addon's probes");
  for (const each of kernelCases(namedShape(shape), options)) {
    const error = await kernelError(each, backend);
    const rows = rowsOf(each, where, options);
    const copies = copiesOf(each, rows.count, repetitions[where]);
    const plan = each.record(copies, rows.sample);
    const run = await KernelRun.open(backend, plan, rows);
    try {
      const times: number[] = [];
      const reads: number[] = [];
      const peaks: number[] = [];
      // The first steps load kernels, then capture the graph.
      for (let step = 0; step < stepsPerRound; step++) await run.step();
      for (let round = 0; round < options.rounds; round++) {
        reads.push(probes.read());
        peaks.push(probes.compute(multipliersOf(each)));
        for (let step = 0; step < stepsPerRound; step++) times.push((await run.step()) / copies);
      }
      const tokens = rows.count * rows.tokens;
      const cost = costOf(each, plan, rows);
      const isElementwise = cost.kvBytes === 0 && each.op !== "linear";
      const bytes = (cost.weightBytes + cost.kvBytes + (isElementwise ? cost.activationBytes : 0)) / copies;
      const operations = cost.operations / copies;
      const [seconds, read, peak] = [median(times), median(reads), median(peaks)];
      const bound = operations / peak > bytes / read ? "compute" : "memory";
      yield {
        op: each.op,
        name: each.name,
        shape,
        variant: variantOf(each, run.variants),
        weights: each.weights === undefined ? undefined : weightFormatName(each.weights),
        activations: each.activations,
        kvFormat: each.kvFormat,
        tokens,
        sequences: isKvOp(each) ? rows.count : 1,
        context: each.context,
        device: where,
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

function isKvOp({ op }: KernelCase): boolean {
  return op === "attention" || op === "kvWrite";
}

/** On a GPU single tokens sample, one per row: as in decode, the step is then a graph, without gaps between kernels. */
function rowsOf(
  each: KernelCase,
  where: "cpu" | "cuda",
  { sequences = 1, pageTokens = 16 }: MeasureKernelsOptions,
): KernelRows {
  if (isKvOp(each)) {
    const start = each.context - each.tokens;
    return { count: sequences, start, tokens: each.tokens, sample: where === "cuda" && each.tokens === 1, pageTokens };
  }
  const isGraph = where === "cuda" && each.op !== "embed" && each.tokens <= mostGraphRows;
  return isGraph
    ? { count: each.tokens, start: 0, tokens: 1, sample: true }
    : { count: 1, start: 0, tokens: each.tokens, sample: false };
}

function multipliersOf({ op, activations }: KernelCase): ComputeKind {
  // Attention meets pages of every format in 16 bit, where tensor cores do it.
  return activations ?? (op === "attention" ? "fp16" : "fp32");
}

/** The logits that make a step sample are not part of the kernel. */
function costOf({ context }: KernelCase, plan: Plan, { count, tokens }: KernelRows) {
  const { ops } = planCost(plan, { tokens, contexts: new Array<number>(count).fill(context) });
  const sum = (pick: (cost: OpCost) => number) =>
    ops.filter(({ op }) => op !== "gatherRows").reduce((total, cost) => total + pick(cost), 0);
  return {
    weightBytes: sum((cost) => cost.weightBytes),
    kvBytes: sum((cost) => cost.kvBytes),
    activationBytes: sum((cost) => cost.activationBytes),
    operations: sum((cost) => cost.operations),
  };
}

function variantOf({ op }: KernelCase, variants: readonly string[]): string {
  const own = variants.filter((variant) => !variant.startsWith("gather_rows"));
  return own.at(-1) ?? op;
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

function copiesOf(each: KernelCase, rowCount: number, repetition: Repetition): number {
  const one = planCost(each.recordSlice(), { tokens: each.tokens, contexts: [each.context] });
  // A slice of a matrix says nothing about its operations; they follow from its bytes only for KV ops.
  const operations = each.op === "attention" ? one.operations * rowCount : 0;
  const bytes = each.bytesPerCopy * (isKvOp(each) ? rowCount : 1);
  const wanted = bytes === 0 ? repetition.copies : Math.ceil(repetition.rotatedBytes / bytes);
  const affordable = operations === 0 ? mostCopies : Math.floor(repetition.mostOperations / operations);
  return Math.max(repetition.leastCopies, Math.min(wanted, affordable, mostCopies));
}
