import { invalidOption } from "../invalid-option.ts";
import { isObject, parseJson, shown } from "../json-values.ts";
import { tokenCount } from "./csv-columns.ts";
import type { TraceFormat, TraceRow } from "./trace-row.ts";

/**
 * JSON lines of kvcache-ai/Mooncake: `{"timestamp": milliseconds, "input_length", "output_length", "hash_ids": [one for each 512
 * tokens]}`. Without `hash_ids` nothing is shared.
 */
export const mooncakeTrace: TraceFormat = {
  name: "Mooncake",
  open: (firstLine) => (firstLine.trimStart().startsWith("{") ? { hasHeader: false, row } : undefined),
};

function row(text: string, where: string): Omit<TraceRow, "line"> {
  const parsed = parseJson(text, where, "datasetFile");
  // The first line begins with a brace in every file that is taken for this format; a later one may hold anything.
  const value = isObject(parsed) ? parsed : {};
  const { timestamp, hash_ids: hashIds } = value;
  if (typeof timestamp !== "number" || !Number.isFinite(timestamp) || timestamp < 0) {
    throw invalidOption("datasetFile", `${where}: timestamp is ${shown(timestamp)}, not a number of milliseconds`);
  }
  return {
    seconds: timestamp / 1000,
    promptTokens: tokenCount(value.input_length, "input_length", where),
    outputTokens: tokenCount(value.output_length, "output_length", where),
    ...(hashIds === undefined ? {} : { hashIds: idsOf(hashIds, where) }),
  };
}

function idsOf(value: unknown, where: string): readonly number[] {
  const isId = (id: unknown): id is number => typeof id === "number" && Number.isInteger(id) && id >= 0 && id < 2 ** 32;
  if (Array.isArray(value) && value.every(isId)) return value;
  throw invalidOption("datasetFile", `${where}: hash_ids is ${shown(value)}, not a list of integers`);
}
