import { KvantError } from "@kvant/core";

/** The fields of a JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The longest part of an offending value that a sentence repeats. */
const shownCharacters = 120;

/** An offending value as a sentence shows it: JSON, cut where it is long. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= shownCharacters ? text : `${text.slice(0, shownCharacters)}…`;
}

/**
 * @param where `PATH: line N`
 * @param field the option that named the file
 * @throws KvantError INVALID_ARGUMENT
 */
export function parseJson(text: string, where: string, field: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KvantError("INVALID_ARGUMENT", `${where} is not JSON: ${shown(text)}`, { cause, field });
  }
}
