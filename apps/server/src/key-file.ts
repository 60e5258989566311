import { readFileSync } from "node:fs";
import { KvantError } from "@kvant/core";

// RFC 6750 calls this b68token plus the characters that key generators use; a space or a quote is a copying mistake.
const keyPattern = /^[\x21-\x7e]{8,512}$/;

/**
 * Keys of a file, one a line; empty lines and lines that start with `#` are skipped.
 * Throws KEY_FILE_INVALID for a file that cannot be read, holds no key or holds a line that cannot be a bearer token. The
 * error names the line's number and never its text.
 */
export function readKeyFile(path: string): readonly string[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new KvantError("KEY_FILE_INVALID", `${path}: cannot read the key file: ${reason}`, { cause });
  }
  const keys: string[] = [];
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    if (!keyPattern.test(line)) {
      throw new KvantError(
        "KEY_FILE_INVALID",
        `${path}: line ${index + 1} is not a key: it has ${line.length} characters; a key is 8 to 512 printable ASCII characters without spaces`,
      );
    }
    keys.push(line);
  }
  if (keys.length === 0) throw new KvantError("KEY_FILE_INVALID", `${path}: the key file holds no key`);
  return keys;
}
