import { readFileSync } from "node:fs";
import { KvantError } from "@kvant/core";

/**
 * The text of a file, without a byte order mark.
 * @throws INVALID_ARGUMENT for a file that cannot be read or is not UTF-8
 */
export function readText(path: string): string {
  const bytes = read(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new KvantError("INVALID_ARGUMENT", `${path}: is not UTF-8 text`, { cause, field: "text" });
  }
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KvantError("INVALID_ARGUMENT", `${path}: cannot be read (${reason})`, { cause, field: "text" });
  }
}
