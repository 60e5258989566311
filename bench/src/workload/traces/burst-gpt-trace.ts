import { invalidOption } from "../invalid-option.ts";
import { shown } from "../json-values.ts";
import { csvTrace } from "./csv-trace.ts";
import type { TraceFormat } from "./trace-row.ts";

/**
 * `BurstGPT_*.csv` of HPMLL/BurstGPT: columns Timestamp (seconds), Model, Request tokens, Response tokens, Total tokens, Log Type,
 * in later releases also a session and the elapsed time. Requests that failed have 0 response tokens.
 */
export const burstGptTrace: TraceFormat = csvTrace(
  "BurstGPT",
  { time: "Timestamp", promptTokens: "Request tokens", outputTokens: "Response tokens" },
  secondsOf,
);

function secondsOf(text: string, where: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  throw invalidOption("datasetFile", `${where}: Timestamp is ${shown(text)}, not a number of seconds`);
}
