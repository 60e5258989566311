import { spawnSync } from "node:child_process";
import { type EngineMeasurement, measureEngine } from "@kvant/bench";
import { KvantError } from "@kvant/core";
import type { EngineOptions } from "@kvant/engine";
import { eachFormat, type ModelFlags } from "../model-options.ts";
import { plannedOptions } from "../planned-options.ts";
import { megabytes, printRow, say, table } from "../print.ts";
import { loadingBar } from "../progress.ts";

export interface BenchEngineFlags extends ModelFlags {
  readonly shape?: string;
  readonly batch: number;
  readonly context: number;
  readonly prompt?: number;
  readonly decodeTokens: number;
  readonly rounds: number;
  readonly warmUp: number;
  readonly maxStepTokens?: number;
  readonly json?: boolean;
}

/**
 * Measures every pair of the named weight and KV formats. Several pairs run one after the other in processes of their own,
 * so that peak memory belongs to one pair. What has been measured is printed even when a later pair fails.
 */
export async function benchEngine(model: string | undefined, flags: BenchEngineFlags): Promise<void> {
  const { shape, json } = flags;
  if (shape !== undefined && model !== undefined)
    throw new KvantError("INVALID_ARGUMENT", "give either MODEL or --shape NAME, not both");
  const pairs = eachFormat("weights", flags.weights).flatMap((weights) =>
    eachFormat("kvFormat", flags.kvFormat).map((kvFormat) => ({ ...weights, ...kvFormat })),
  );
  const load = shape === undefined ? {} : { load: "dummy" as const };
  const [only, ...others] = pairs.map((pair) => plannedOptions(shape ?? model, { ...flags, ...load, ...pair }));
  const rows: EngineMeasurement[] = [];
  const keep = (row: EngineMeasurement): void => {
    rows.push(row);
    if (json) printRow(row);
  };
  try {
    if (others.length === 0) keep(await measureOne(only!, flags));
    else for (const pair of pairs) keep(measureApart(pair));
  } finally {
    if (!json && rows.length > 0) process.stdout.write(`${measurementTable(rows)}\n`);
  }
}

async function measureOne(engine: EngineOptions, flags: BenchEngineFlags): Promise<EngineMeasurement> {
  const { batch, context, prompt, decodeTokens, rounds, warmUp, maxStepTokens } = flags;
  const bar = loadingBar();
  return measureEngine({
    engine,
    batch,
    context,
    ...(prompt === undefined ? {} : { prompt }),
    decodeTokens,
    rounds,
    warmUpSeconds: warmUp,
    ...(maxStepTokens === undefined ? {} : { maxStepTokens }),
    onLoad: bar.onProgress,
    onProgress: (phase) =>
      say(`${engine.servedModelName ?? engine.model} ${flags.weights ?? ""} ${flags.kvFormat ?? ""}: ${phase}`),
  }).finally(bar.stop);
}

/** The same command line for one pair, in a child process. */
function measureApart({ weights, kvFormat }: Pick<ModelFlags, "weights" | "kvFormat">): EngineMeasurement {
  const args = process.argv.slice(1).filter((arg) => arg !== "--json");
  for (const [flag, value] of [
    ["--weights", weights],
    ["--kv-format", kvFormat],
  ] as const) {
    const at = args.findIndex((arg) => arg === flag || arg.startsWith(`${flag}=`));
    if (at !== -1) args.splice(at, args[at] === flag ? 2 : 1);
    if (value !== undefined) args.push(flag, value);
  }
  const { status, signal, stdout } = spawnSync(process.execPath, [...process.execArgv, ...args, "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (status !== 0)
    throw new KvantError(
      "ENGINE_DIED",
      `measuring ${weights ?? "stored"} weights, ${kvFormat ?? "default"} KV ended with ${signal ?? status}`,
    );
  return JSON.parse(stdout);
}

function measurementTable(rows: readonly EngineMeasurement[]): string {
  const [first] = rows;
  const header = [
    "weights",
    "activations",
    "head",
    "KV",
    "decode tok/s",
    "prefill tok/s",
    "TOP/s",
    "% of probe",
    "MB/step",
    "GB/s",
    "% of probe",
    "weights held",
    "KV B/token",
    "gap us p50/p99",
    "peak RSS",
    "load s",
  ];
  const lines = rows.map((row) => [
    row.weights,
    row.activations,
    row.headFormat ?? "-",
    row.kvFormat,
    row.decodeTokensPerSecond.toFixed(1),
    row.prefillTokensPerSecond.toFixed(0),
    row.prefillTeraOperationsPerSecond.toFixed(3),
    row.prefillPercentOfProbe?.toFixed(1) ?? "-",
    (row.bytesPerStep / 1e6).toFixed(2),
    row.readGigabytesPerSecond.toFixed(2),
    row.percentOfProbe?.toFixed(1) ?? "-",
    megabytes(row.weightBytes),
    row.kvBytesPerToken.toFixed(0),
    row.gapMicroseconds === null ? "-" : `${row.gapMicroseconds.p50.toFixed(0)}/${row.gapMicroseconds.p99.toFixed(0)}`,
    megabytes(row.peakResidentBytes),
    row.loadSeconds.toFixed(2),
  ]);
  if (first === undefined) return table(header, lines);
  const { shape, tier, threads, batch, context, prompt, maxStepTokens } = first;
  const { probeReadGigabytesPerSecond: rate, probeMatmulTeraOperationsPerSecond: peak } = first;
  const probes =
    rate === null || peak === null
      ? "probes absent without the addon"
      : `read probe ${rate.toFixed(1)} GB/s, multiplier probe of the first row ${peak.toFixed(2)} TOP/s`;
  const where = first.device === "cuda" ? tier : `${tier}, ${threads} threads`;
  const title = `${shape}, ${where}, batch ${batch}, context ${context}, prompt ${prompt}, steps of ${maxStepTokens} tokens`;
  return `${title}; ${probes}\n${table(header, lines)}`;
}
