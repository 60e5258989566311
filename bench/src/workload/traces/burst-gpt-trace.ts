import { invalidOption } from "../invalid-option.ts";
import { shown } from "../json-values.ts";
import { csvColumns, tokenCount } from "./csv-columns.ts";
import type { TraceFormat } from "./trace-row.ts";

/**
 * `BurstGPT_*.csv` of HPMLL/BurstGPT: columns Timestamp (seconds), Model, Request tokens, Response tokens, Total tokens, Log Type,
 * in later releases also a session and the elapsed time. Requests that failed have 0 response tokens.
 */
export const burstGptTrace: TraceFormat = {
  name: "BurstGPT",
  open: (firstLine) => {
    const columns = csvColumns(firstLine, ["Timestamp", "Request tokens", "Response tokens"]);
    if (columns === undefined) return undefined;
    return {
      hasHeader: true,
      row: (text, where) => {
        const value = columns(text, where);
        return {
          seconds: secondsOf(value("Timestamp"), where),
          promptTokens: tokenCount(value("Request tokens"), "Request tokens", where),
          outputTokens: tokenCount(value("Response tokens"), "Response tokens", where),
        };
      },
    };
  },
};

function secondsOf(text: string, where: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  throw invalidOption("datasetFile", `${where}: Timestamp is ${shown(text)}, not a number of seconds`);
}
