import { existsSync } from "node:fs";
import { type ColdMedians, type ColdResult, type ColdRun, measureCold, modelFiles } from "@kvant/bench";
import { KvantError } from "@kvant/core";
import { exitCodeOf, onEndingSignal } from "../ending-signals.ts";
import { type ModelFlags, resolveModel, type SizeFlags } from "../model-options.ts";
import { megabytes, printRow, say, table } from "../print.ts";

export interface BenchColdFlags extends ModelFlags, SizeFlags {
  readonly shape?: string;
  readonly promptTokens: number;
  readonly runs: number;
  readonly limitSeconds: number;
  readonly dropCaches?: boolean;
  readonly json?: boolean;
}

/** Starts `kvant serve` cold and warm in turn and times both up to the first tokens. */
export async function benchCold(model: string | undefined, flags: BenchColdFlags): Promise<void> {
  const { shape, promptTokens, runs, limitSeconds, dropCaches = false, json, ...handedOn } = flags;
  if (shape !== undefined && model !== undefined)
    throw new KvantError("INVALID_ARGUMENT", "give either MODEL or --shape NAME, not both");
  const load = shape === undefined ? handedOn.load : "dummy";
  const named = shape ?? model;
  const { model: folder } = resolveModel(named);
  // There is nothing to report of half a measurement; the server that runs ends with this process.
  const signals = onEndingSignal((signal) => process.exit(exitCodeOf(signal)));
  const result = await measureCold({
    entry: process.argv[1]!,
    serveArgs: [...(named === undefined ? [] : [named]), ...serveFlags({ ...handedOn, ...(load && { load }) })],
    files: load === "dummy" || !existsSync(folder) ? [] : modelFiles(folder),
    runs,
    promptTokens,
    limitSeconds,
    isMachineWide: dropCaches,
    onProgress: (sentence) => say(`${named ?? "tiny"}: ${sentence}`),
  }).finally(signals.forget);
  if (json) printRow(result);
  else process.stdout.write(`${coldTable(result)}\n`);
}

/** Flags as `kvant serve` takes them. */
function serveFlags(flags: ModelFlags & SizeFlags): readonly string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return value === true ? [flag] : [flag, String(value)];
  });
}

function coldTable(result: ColdResult): string {
  const { model, machine, files, eviction, promptTokens, warnings, runs, medians } = result;
  const where = [model.tier, ...machine.accelerators].join(", ");
  const title =
    `${model.id}, ${where}, ${model.weights} weights, ${model.activations} activations, ${model.kvFormat} KV, ` +
    `${promptTokens} tokens in; seconds after the process was started`;
  const header = [
    "start",
    "cached",
    "code",
    "model",
    "listening",
    "ready",
    "first token",
    "first step",
    "load s",
    "TTFT ms",
    "first step ms",
    "later ms",
    "server RSS",
    "engine RSS",
  ];
  const lines = [
    ...runs.map((run) => cells(run.start, cachedShare(run, files.bytes), run)),
    ...medians.map((row) => cells(`${row.start}, median of ${row.runs}`, "", row)),
  ];
  const evicted = {
    fadvise: `Cold: the model's ${files.count} files (${megabytes(files.bytes)}) were dropped from the page cache with posix_fadvise, and fincore found them gone.`,
    "drop-caches": `Cold: the whole page cache was dropped through /proc/sys/vm/drop_caches, and fincore found the model's ${files.count} files (${megabytes(files.bytes)}) gone.`,
    none: "No start was cold.",
  }[eviction];
  return [title, table(header, lines), evicted, ...warnings.map((sentence) => `warning: ${sentence}`)].join("\n");
}

function cells(name: string, cached: string, row: ColdRun | ColdMedians): readonly string[] {
  const { at, loadSeconds, firstTokenSeconds, firstStepSeconds, laterStepSeconds, peakResidentBytes } = row;
  const marks = [at.loading, at.loaded, at.listening, at.ready, at.firstToken, at.firstStep];
  return [
    name,
    cached,
    ...marks.map((seconds) => seconds.toFixed(3)),
    loadSeconds.toFixed(3),
    ...[firstTokenSeconds, firstStepSeconds, laterStepSeconds].map((seconds) => (seconds * 1000).toFixed(2)),
    peakResidentBytes === null ? "-" : megabytes(peakResidentBytes.server),
    peakResidentBytes === null ? "-" : megabytes(peakResidentBytes.engine),
  ];
}

/** Whole pages are counted, so that small files may hold more than they are long. */
function cachedShare({ residentBytes }: ColdRun, bytes: number): string {
  if (residentBytes === null || bytes === 0) return "-";
  return `${Math.min(100, (100 * residentBytes) / bytes).toFixed(1)} %`;
}
