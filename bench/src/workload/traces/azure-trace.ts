import { invalidOption } from "../invalid-option.ts";
import { shown } from "../json-values.ts";
import { csvTrace } from "./csv-trace.ts";
import type { TraceFormat } from "./trace-row.ts";

// Seven digits after the point in the files of 2023; those of 2024 name the zone.
const timestamp = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?$/;

/** `AzureLLMInferenceTrace_*.csv` of Azure/AzurePublicDataset. */
export const azureTrace: TraceFormat = csvTrace(
  "Azure",
  { time: "TIMESTAMP", promptTokens: "ContextTokens", outputTokens: "GeneratedTokens" },
  secondsOf,
);

/** Seconds since 1970: whole ones by Date, the fraction by itself, as Date stops at milliseconds. */
function secondsOf(text: string, where: string): number {
  const parts = timestamp.exec(text);
  const whole = parts === null ? Number.NaN : Date.parse(`${parts[1]}T${parts[2]}${parts[4] ?? "Z"}`);
  if (Number.isNaN(whole)) {
    const sentence = `${where}: TIMESTAMP is ${shown(text)}, not a time such as 2023-11-16 18:15:46.6805900`;
    throw invalidOption("datasetFile", sentence);
  }
  return whole / 1000 + Number(parts?.[3] ?? 0);
}
