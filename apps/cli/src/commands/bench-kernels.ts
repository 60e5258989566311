import { type KernelMeasurement, kernelOps, measureKernels } from "@kvant/bench";
import { printRow, say, table } from "../print.ts";

export interface BenchKernelsFlags {
  readonly op?: readonly string[];
  readonly shape: readonly string[];
  readonly weights: readonly string[];
  readonly activations?: string;
  readonly kvFormat: readonly string[];
  readonly tokens: readonly number[];
  readonly sequences: number;
  readonly pageTokens?: number;
  readonly context: number;
  readonly device?: string;
  readonly deterministic?: boolean;
  readonly tier?: string;
  readonly threads?: number;
  readonly rounds: number;
  readonly json?: boolean;
}

/** Measures kernels one by one; with `--json` each row is printed as soon as it is known. */
export async function benchKernels(flags: BenchKernelsFlags): Promise<void> {
  for (const shape of flags.shape) {
    const rows: KernelMeasurement[] = [];
    for await (const row of measureKernels({
      shape,
      ops: flags.op ?? kernelOps,
      weights: flags.weights,
      kvFormats: flags.kvFormat,
      tokens: flags.tokens,
      sequences: flags.sequences,
      context: flags.context,
      rounds: flags.rounds,
      ...(flags.activations === undefined ? {} : { activations: flags.activations }),
      ...(flags.pageTokens === undefined ? {} : { pageTokens: flags.pageTokens }),
      ...(flags.device === undefined ? {} : { device: flags.device }),
      ...(flags.deterministic === undefined ? {} : { deterministic: flags.deterministic }),
      ...(flags.tier === undefined ? {} : { tier: flags.tier }),
      ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    })) {
      rows.push(row);
      if (flags.json) printRow(row);
      else say(`${shape}: ${row.op} ${row.name} ${row.weights ?? row.kvFormat ?? ""}`);
    }
    if (!flags.json) process.stdout.write(`${measurementTable(rows)}\n`);
  }
}

function measurementTable(rows: readonly KernelMeasurement[]): string {
  const [first] = rows;
  const header = [
    "kernel",
    "shape",
    "us",
    "MB",
    "MOP",
    "GB/s",
    "GOP/s",
    "bound",
    "% of probe",
    "of",
    "max error",
    "relative",
  ];
  const lines = rows.map((row) => [
    row.variant,
    row.op === "attention"
      ? `${row.sequences > 1 ? `${row.sequences} x ` : ""}${row.name} at ${row.context}`
      : row.name,
    (row.seconds * 1e6).toFixed(1),
    (row.bytes / 1e6).toFixed(3),
    (row.operations / 1e6).toFixed(1),
    row.gigabytesPerSecond.toFixed(2),
    row.gigaOperationsPerSecond.toFixed(1),
    row.bound,
    row.percentOfProbe.toFixed(1),
    row.bound === "memory"
      ? `${row.probeReadGigabytesPerSecond.toFixed(1)} GB/s`
      : `${row.probeComputeGigaOperationsPerSecond.toFixed(0)} GOP/s`,
    row.maxAbsoluteError.toExponential(1),
    row.relativeError.toExponential(1),
  ]);
  const threads = first?.device === "cuda" ? "" : `, ${first?.threads} threads`;
  const title = first === undefined ? "" : `${first.shape}, ${first.tier}${threads}\n`;
  return title + table(header, lines);
}
