import { invalidOption } from "../invalid-option.ts";
import { shown } from "../json-values.ts";
import { textLines } from "../text-lines.ts";
import { azureTrace } from "./azure-trace.ts";
import { burstGptTrace } from "./burst-gpt-trace.ts";
import { mooncakeTrace } from "./mooncake-trace.ts";
import type { TraceFormat, TraceReader, TraceRow } from "./trace-row.ts";

const traceFormats: readonly TraceFormat[] = [azureTrace, burstGptTrace, mooncakeTrace];

/** The format of a file's first line. */
export function traceFormatOf(firstLine: string): { name: string; reader: TraceReader } | undefined {
  for (const { name, open } of traceFormats) {
    const reader = open(firstLine);
    if (reader !== undefined) return { name, reader };
  }
  return undefined;
}

/**
 * All rows of a trace, seconds counted from its first.
 * @throws KvantError INVALID_ARGUMENT with file, line and value for what cannot be read, and for a time that goes back
 */
export function* traceRows(path: string): Generator<TraceRow, void> {
  let reader: TraceReader | undefined;
  let [first, previous] = [undefined as number | undefined, 0];
  for (const { number, text } of textLines(path, "datasetFile")) {
    if (reader === undefined) {
      reader = formatOf(path, text).reader;
      if (reader.hasHeader) continue;
    }
    const row = reader.row(text, `${path}: line ${number}`);
    first ??= row.seconds;
    const seconds = row.seconds - first;
    if (seconds < previous) {
      const sentence = `${path}: line ${number} is ${(previous - seconds).toFixed(3)} s earlier than the one before it`;
      throw invalidOption(
        "datasetFile",
        `${sentence}; a trace is replayed in the order of its times, so sort it first`,
      );
    }
    previous = seconds;
    yield { ...row, line: number, seconds };
  }
  if (first === undefined) throw invalidOption("datasetFile", `${path}: holds no requests`);
}

/** The name of a trace's format, for a report. */
export function traceFormatName(path: string): string {
  for (const { text } of textLines(path, "datasetFile")) return formatOf(path, text).name;
  throw invalidOption("datasetFile", `${path}: holds no requests`);
}

function formatOf(path: string, firstLine: string): { name: string; reader: TraceReader } {
  const format = traceFormatOf(firstLine);
  if (format !== undefined) return format;
  const names = traceFormats.map(({ name }) => name).join(", ");
  throw invalidOption(
    "datasetFile",
    `${path}: its first line is of no trace that is known (${names}): ${shown(firstLine)}`,
  );
}
