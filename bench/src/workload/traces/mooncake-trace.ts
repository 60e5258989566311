import { KvantError } from "@kvant/core";
import { invalidOption, shown } from "../invalid-option.ts";
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
  const value = fieldsOf(text, where);
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

function fieldsOf(text: string, where: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new KvantError("INVALID_ARGUMENT", `${where} is not JSON: ${shown(text)}`, { cause, field: "datasetFile" });
  }
  // The line begins with a brace in every file that is taken for this format; a later one may hold anything.
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function idsOf(value: unknown, where: string): readonly number[] {
  const isId = (id: unknown): id is number => typeof id === "number" && Number.isInteger(id) && id >= 0 && id < 2 ** 32;
  if (Array.isArray(value) && value.every(isId)) return value;
  throw invalidOption("datasetFile", `${where}: hash_ids is ${shown(value)}, not a list of integers`);
}
