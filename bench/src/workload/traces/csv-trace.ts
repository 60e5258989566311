import { csvColumns, tokenCount } from "./csv-columns.ts";
import type { TraceFormat } from "./trace-row.ts";

/** The columns of a trace in comma-separated values, by what they hold. */
export interface TraceColumns {
  readonly time: string;
  readonly promptTokens: string;
  readonly outputTokens: string;
}

/**
 * A format recognized by a header that names these columns, in any order and among others.
 * @param secondsOf reads the column of the time; throws KvantError INVALID_ARGUMENT that begins with `where`
 */
export function csvTrace(
  name: string,
  { time, promptTokens, outputTokens }: TraceColumns,
  secondsOf: (text: string, where: string) => number,
): TraceFormat {
  return {
    name,
    open: (firstLine) => {
      const columns = csvColumns(firstLine, [time, promptTokens, outputTokens]);
      if (columns === undefined) return undefined;
      return {
        hasHeader: true,
        row: (text, where) => {
          const value = columns(text, where);
          return {
            seconds: secondsOf(value(time), where),
            promptTokens: tokenCount(value(promptTokens), promptTokens, where),
            outputTokens: tokenCount(value(outputTokens), outputTokens, where),
          };
        },
      };
    },
  };
}
