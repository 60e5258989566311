import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  defaultQualitySchemes,
  measureQuality,
  outlierClaims,
  outlierQualitySchemes,
  parseQualityScheme,
  type QualityResult,
  type QualityRow,
  qualityClaims,
  qualityMarkdown,
  qualityPage,
  qualityResultVersion,
  qualityTwin,
  readMachine,
  replaceTextFile,
} from "@kvant/bench";
import { errorCode } from "@kvant/core";
import { accelerate } from "../accelerate.ts";
import { engineOptions, type ModelFlags } from "../model-options.ts";
import { requireWritable, writeAsked } from "../output-files.ts";
import { printRow, say } from "../print.ts";
import { progressBar } from "../progress.ts";
import { claimLines, qualityRowsTable } from "../quality-table.ts";
import { readText } from "../read-text.ts";
import { version } from "../version.ts";
import { costApart } from "./eval-cost.ts";

export interface BenchQualityFlags extends Pick<ModelFlags, "device" | "threads"> {
  readonly text: string;
  readonly textBytes?: number;
  readonly calibration?: readonly string[];
  readonly samples: number;
  readonly sampleTokens: number;
  readonly seed: number;
  readonly schemes?: readonly string[];
  readonly plantOutliers?: number;
  readonly outlierChannels: number;
  readonly folder?: string;
  readonly speed?: boolean;
  readonly check?: boolean;
  readonly output?: string;
  readonly html?: string;
  readonly markdown?: string;
  readonly json?: boolean;
}

/** What schemes of one model lose on a text against BF16, and with --speed what they cost: one row each. */
export async function benchQuality(model: string | undefined, flags: BenchQualityFlags): Promise<void> {
  const startedAt = new Date().toISOString();
  requireWritable([flags.output, flags.html, flags.markdown]);
  const names = flags.schemes ?? (flags.plantOutliers === undefined ? defaultQualitySchemes : outlierQualitySchemes);
  const schemes = names.map(parseQualityScheme);
  const text = textStart(readText(flags.text), flags.textBytes);
  accelerate(flags.threads);
  const folder = flags.folder ?? mkdtempSync(join(tmpdir(), "kvant-quality-"));
  mkdirSync(folder, { recursive: true });
  let phase = "";
  let bar = progressBar("");
  try {
    const rows: QualityRow[] = [];
    const failed: { readonly scheme: string; readonly error: unknown }[] = [];
    const measured = measureQuality({
      ...flags,
      model: subjectOf(model, flags, folder),
      schemes,
      text,
      calibration:
        flags.calibration === undefined
          ? undefined
          : {
              files: flags.calibration,
              sampleCount: flags.samples,
              sampleTokens: flags.sampleTokens,
              seed: flags.seed,
            },
      folder,
      cost: flags.speed ? costApart : undefined,
      onProgress(name, done, total) {
        if (name !== phase) {
          bar.stop();
          bar = progressBar(name);
          phase = name;
        }
        bar.update(done, total);
      },
      onFailure: (scheme, error) => failed.push({ scheme, error }),
    });
    for await (const row of measured) {
      bar.stop();
      rows.push(row);
      if (flags.json) printRow(row);
    }
    bar.stop();
    // Where nothing came of it, the first error is the command's.
    if (rows.length === 0 && failed.length > 0) throw failed[0]!.error;
    const failures = failed.map(({ scheme, error }) => ({ scheme, reason: reasonOf(error) }));
    const claims = (flags.plantOutliers === undefined ? qualityClaims : outlierClaims)(rows);
    print({ rows, failures, claims }, flags);
    writeFiles({ startedAt, model: model ?? "tiny", names, rows, failures, claims }, flags);
  } finally {
    bar.stop();
    if (flags.folder === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

function reasonOf(error: unknown): string {
  return `${error instanceof Error ? error.message : error} [${errorCode(error)}]`;
}

/** The model's folder, or that of its twin with planted outliers. */
function subjectOf(model: string | undefined, flags: BenchQualityFlags, folder: string): string {
  const source = engineOptions(model, flags);
  if (flags.plantOutliers === undefined) return source.model;
  const { plantOutliers: factor, outlierChannels: channelCount, seed } = flags;
  const twin = qualityTwin({ source, folder, factor, channelCount, seed });
  say(
    twin.channels === undefined
      ? `the twin of an earlier call is used again: ${twin.model}`
      : `norm channels ${twin.channels.join(", ")} of every layer times ${factor}, the next weights divided by it`,
  );
  return twin.model;
}

/** The longest start of a text of at most so many UTF-8 bytes. */
function textStart(text: string, bytes: number | undefined): string {
  if (bytes === undefined) return text;
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytes));
  return text.slice(0, read);
}

type Measured = Required<Pick<QualityResult, "rows" | "failures" | "claims">>;

interface Finished extends Pick<QualityResult, "startedAt" | "model">, Measured {
  /** Of schemes. */
  readonly names: readonly string[];
}

/** The files that were asked for, each whole or not at all. */
function writeFiles({ names, failures, ...finished }: Finished, flags: BenchQualityFlags): void {
  const { output, html, markdown } = flags;
  if (output === undefined && html === undefined && markdown === undefined) return;
  const { facts, node } = readMachine(process.argv[1]!);
  const result: QualityResult = {
    ...{ kind: "kvant-quality", version: qualityResultVersion, machine: facts },
    software: { kvant: version, node },
    flags: { ...flags, schemes: names },
    ...finished,
    ...(failures.length === 0 ? {} : { failures }),
  };
  writeAsked(output, (path) => replaceTextFile(path, `${JSON.stringify(result)}\n`));
  writeAsked(html, (path) => replaceTextFile(path, qualityPage(result)));
  writeAsked(markdown, (path) => replaceTextFile(path, qualityMarkdown(result)));
}

function print({ rows, failures, claims }: Measured, { check, json, text }: BenchQualityFlags): void {
  for (const { scheme, reason } of failures) say(`${scheme} failed and has no row: ${reason}`);
  if (failures.length > 0) process.exitCode = 1;
  const [first] = rows;
  if (first === undefined) return;
  const { tokens, windows, reference } = first;
  const lines = [
    `${tokens} tokens of ${text} in ${windows} windows against the same weights in BF16, whose perplexity is ${reference!.perplexity.toFixed(3)}`,
    qualityRowsTable(rows),
    ...(claims.length === 0 ? [] : ["", claimLines(claims)]),
  ].join("\n");
  if (json) say(lines);
  else process.stdout.write(`${lines}\n`);
  if (check && claims.some(({ holds }) => !holds)) process.exitCode = 1;
}
