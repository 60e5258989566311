import { existsSync } from "node:fs";
import {
  type ColdResult,
  coldMarkdown,
  coldMedianTable,
  coldPage,
  coldRunTable,
  coldSubject,
  evictionSentence,
  measureCold,
  modelFiles,
  replaceTextFile,
  textTable,
} from "@kvant/bench";
import { KvantError } from "@kvant/core";
import { exitCodeOf, onEndingSignal } from "../ending-signals.ts";
import { flagName, measuringFlags } from "../flag-name.ts";
import { type ModelFlags, resolveModel, type SizeFlags } from "../model-options.ts";
import { requireWritable, writeAsked } from "../output-files.ts";
import { printRow, say, table } from "../print.ts";

export interface BenchColdFlags extends ModelFlags, SizeFlags {
  readonly shape?: string;
  readonly promptTokens: number;
  readonly runs: number;
  readonly limitSeconds: number;
  readonly dropCaches?: boolean;
  readonly output?: string;
  readonly html?: string;
  readonly markdown?: string;
  readonly json?: boolean;
}

/** Starts `kvant serve` cold and warm in turn and times both up to the first tokens. */
export async function benchCold(model: string | undefined, flags: BenchColdFlags): Promise<void> {
  const { shape, promptTokens, runs, limitSeconds, dropCaches = false, ...others } = flags;
  const { output, html, markdown, json, ...handedOn } = others;
  if (shape !== undefined && model !== undefined)
    throw new KvantError("INVALID_ARGUMENT", "give either MODEL or --shape NAME, not both");
  requireWritable([output, html, markdown]);
  const load = shape === undefined ? handedOn.load : "dummy";
  const named = shape ?? model;
  const { model: folder } = resolveModel(named);
  // There is nothing to report of half a measurement; the server that runs ends with this process.
  const signals = onEndingSignal((signal) => process.exit(exitCodeOf(signal)));
  const result = await measureCold({
    entry: process.argv[1]!,
    serveArgs: [...(named === undefined ? [] : [named]), ...serveFlags({ ...handedOn, ...(load && { load }) })],
    flags: recordedFlags(model, flags),
    files: load === "dummy" || !existsSync(folder) ? [] : modelFiles(folder),
    runs,
    promptTokens,
    limitSeconds,
    isMachineWide: dropCaches,
    onProgress: (sentence) => say(`${named ?? "tiny"}: ${sentence}`),
  }).finally(signals.forget);
  if (json) printRow(result);
  else process.stdout.write(`${coldText(result)}\n`);
  writeAsked(output, (path) => replaceTextFile(path, `${JSON.stringify(result)}\n`));
  writeAsked(html, (path) => replaceTextFile(path, coldPage(result)));
  writeAsked(markdown, (path) => replaceTextFile(path, coldMarkdown(result)));
}

/** Flags as `kvant serve` takes them. */
function serveFlags(flags: ModelFlags & SizeFlags): readonly string[] {
  return Object.entries(flags).flatMap(([name, value]) => {
    const flag = `--${flagName(name)}`;
    return value === true ? [flag] : [flag, String(value)];
  });
}

function coldText(result: ColdResult): string {
  const [runs, medians] = [coldRunTable(result), coldMedianTable(result)].map((part) => {
    const [header, ...rows] = textTable(part);
    return table(header!, rows);
  });
  const notes = [evictionSentence(result), ...result.warnings.map((sentence) => `warning: ${sentence}`)];
  return `${coldSubject(result)}\n\n${runs}\n\n${medians}\n\n${notes.join("\n")}`;
}

/** Flags by their names on the command line, for a result. */
function recordedFlags(model: string | undefined, flags: BenchColdFlags): ColdResult["flags"] {
  return Object.fromEntries([
    ...(model === undefined ? [] : [["model", model]]),
    ...measuringFlags(flags).map(([name, value]) => [flagName(name), value]),
  ]);
}
