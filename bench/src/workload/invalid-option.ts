import { KvantError } from "@kvant/core";

/** A workload that cannot be: `field` is the option of `WorkloadOptions` at fault. */
export function invalidOption(field: string, sentence: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", sentence, { field });
}

export function unreadable(path: string, field: string, cause: unknown): KvantError {
  const reason = cause instanceof Error && "code" in cause ? cause.code : cause;
  return new KvantError("INVALID_ARGUMENT", `${path}: cannot be read (${reason})`, { cause, field });
}
