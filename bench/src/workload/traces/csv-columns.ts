import { invalidOption } from "../invalid-option.ts";
import { shown } from "../json-values.ts";

/** A line of comma-separated values by the names of its columns. No trace quotes a value, so a quote is refused. */
export type CsvLine = (column: string) => string;

/**
 * @param header the first line
 * @param columns names that must be among its own, in any order
 * @returns undefined where one is missing
 */
export function csvColumns(
  header: string,
  columns: readonly string[],
): ((text: string, where: string) => CsvLine) | undefined {
  const names = header.split(",").map((name) => name.trim());
  if (columns.some((column) => !names.includes(column))) return undefined;
  return (text, where) => {
    const values = text.split(",");
    if (values.length !== names.length || text.includes('"')) {
      throw invalidOption("datasetFile", `${where} has not the ${names.length} values of the header: ${shown(text)}`);
    }
    return (column) => values[names.indexOf(column)]!.trim();
  };
}

/** @throws KvantError INVALID_ARGUMENT for what is no integer of at least 0 */
export function tokenCount(value: unknown, column: string, where: string): number {
  const count = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof count === "number" && Number.isSafeInteger(count) && count >= 0) return count;
  throw invalidOption("datasetFile", `${where}: ${column} is ${shown(value)}, not a number of tokens`);
}
