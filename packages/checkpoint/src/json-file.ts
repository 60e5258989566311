import { readFileSync, statSync } from "node:fs";
import { type ErrorCode, KvantError, limit } from "@kvant/core";

/**
 * Reads a JSON object from a file no larger than the limit `configBytes`.
 * @throws KvantError CHECKPOINT_NOT_FOUND if there is no such file, `invalid` if it is too large or not a JSON object
 */
export function readJsonObject(path: string, invalid: ErrorCode): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    const { size } = statSync(path);
    const most = limit("configBytes");
    if (size > most) throw new KvantError(invalid, `${path}: has ${size} bytes; the limit is ${most}`);
    parsed = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    if (cause instanceof KvantError) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    if (cause instanceof SyntaxError) throw new KvantError(invalid, `${path}: is not JSON (${message})`, { cause });
    throw new KvantError("CHECKPOINT_NOT_FOUND", `${path}: cannot be read (${message})`, { cause });
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new KvantError(invalid, `${path}: is not a JSON object`);
  }
  return parsed as Record<string, unknown>;
}
