import { spawnSync } from "node:child_process";
import { type EngineMeasurement, measureEngine } from "@kvant/bench";
import { KvantError } from "@kvant/core";
import { engineOptions, formatNames, type ModelFlags } from "../model-options.ts";
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
 * so that peak memory belongs to one pair.
 */
export async function benchEngine(model: string | undefined, flags: BenchEngineFlags): Promise<void> {
  const weights = formatNames(flags.weights);
  const kvFormats = formatNames(flags.kvFormat);
  const isOnePair = weights.length * kvFormats.length === 1;
  const rows = isOnePair
    ? [await measureOne(model, flags)]
    : weights.flatMap((w) => kvFormats.map((kv) => measureApart(w, kv)));
  if (flags.json) for (const row of rows) printRow(row);
  else process.stdout.write(`${measurementTable(rows)}\n`);
}

async function measureOne(model: string | undefined, flags: BenchEngineFlags): Promise<EngineMeasurement> {
  const { shape, batch, context, prompt, decodeTokens, rounds, warmUp, maxStepTokens } = flags;
  if (shape !== undefined && model !== undefined)
    throw new KvantError("INVALID_ARGUMENT", "give either MODEL or --shape NAME, not both");
  const load = shape === undefined ? {} : { load: "dummy" as const };
  const bar = loadingBar();
  return measureEngine({
    engine: engineOptions(shape ?? model, { ...flags, ...load }),
    batch,
    context,
    ...(prompt === undefined ? {} : { prompt }),
    decodeTokens,
    rounds,
    warmUpSeconds: warmUp,
    ...(maxStepTokens === undefined ? {} : { maxStepTokens }),
    onLoad: bar.onProgress,
    onProgress: (phase) => say(`${shape ?? model ?? "tiny"} ${flags.weights ?? ""} ${flags.kvFormat ?? ""}: ${phase}`),
  }).finally(bar.stop);
}

/** The same command line for one pair, in a child process. */
function measureApart(weights: string | undefined, kvFormat: string | undefined): EngineMeasurement {
  const args = process.argv.slice(1).filter((arg) => arg !== "--json");
  for (const [flag, value] of [
    ["--weights", weights],
    ["--kv-format", kvFormat],
  ] as const) {
    const at = args.findIndex((arg) => arg === flag || arg.startsWith(`${flag}=`));
    if (at !== -1) args.splice(at, args[at] === flag ? 2 : 1);
    if (value !== undefined) args.push(flag, value);
  }
  const { status, stdout } = spawnSync(process.execPath, [...process.execArgv, ...args, "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (status !== 0)
    throw new KvantError(
      "INTERNAL",
      `measuring ${weights ?? "stored"} weights, ${kvFormat ?? "default"} KV ended with ${status}`,
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
