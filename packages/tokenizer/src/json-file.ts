import { readFileSync, statSync } from "node:fs";
import { KvantError, type LimitName, limit } from "@kvant/core";

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The text of a file, or undefined when there is none.
 * @throws KvantError CHECKPOINT_INVALID when it is larger than the limit
 */
export function readTextFile(path: string, sizeLimit: LimitName): string | undefined {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) return undefined;
  if (size > limit(sizeLimit)) {
    throw new KvantError(
      "CHECKPOINT_INVALID",
      `${path} has ${size} bytes; the limit ${sizeLimit} is ${limit(sizeLimit)}`,
    );
  }
  return readFileSync(path, "utf8");
}

/**
 * The JSON object in a file, or undefined when there is no file.
 * @throws KvantError CHECKPOINT_INVALID when it is too large, no JSON or no object
 */
export function readJsonFile(path: string, sizeLimit: LimitName): Record<string, unknown> | undefined {
  const text = readTextFile(path, sizeLimit);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new KvantError("CHECKPOINT_INVALID", `${path} is not JSON: ${String(cause)}`, { cause });
  }
  if (!isRecord(value)) throw new KvantError("CHECKPOINT_INVALID", `${path} holds no JSON object`);
  return value;
}
