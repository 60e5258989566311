import { KvantError } from "@kvant/core";

/** A workload that cannot be: `field` is the option of `WorkloadOptions` at fault. */
export function invalidOption(field: string, sentence: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", sentence, { field });
}

/** The longest part of an offending value that a sentence repeats. */
const shownCharacters = 120;

/** An offending value as a sentence shows it: JSON, cut where it is long. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= shownCharacters ? text : `${text.slice(0, shownCharacters)}…`;
}

export function unreadable(path: string, field: string, cause: unknown): KvantError {
  const reason = cause instanceof Error && "code" in cause ? cause.code : cause;
  return new KvantError("INVALID_ARGUMENT", `${path}: cannot be read (${reason})`, { cause, field });
}
