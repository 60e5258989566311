import { rmSync, statSync, writeFileSync } from "node:fs";
import { KvantError } from "@kvant/core";
import { say } from "./print.ts";

/**
 * That files can be written where they shall be, before minutes of measuring whose result would be lost. What `access` says of
 * a folder does not hold for root and for every file system, so an empty file is written beside each and removed again.
 * @param paths as given by flags; undefined for one that was not given
 * @throws KvantError WRITE_FAILED, which names the file
 */
export function requireWritable(paths: readonly (string | undefined)[]): void {
  for (const path of paths) {
    if (path === undefined) continue;
    const probe = `${path}.${process.pid}.tmp`;
    try {
      writeFileSync(probe, "", { flag: "wx" });
      rmSync(probe);
    } catch (cause) {
      const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
      throw unwritable(path, reason, cause);
    }
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw unwritable(path, "it is a folder");
  }
}

/** Writes a file that was asked for, and says so. */
export function writeAsked(path: string | undefined, write: (path: string) => void): void {
  if (path === undefined) return;
  write(path);
  say(`wrote ${path}`);
}

function unwritable(path: string, reason: string, cause?: unknown): KvantError {
  return new KvantError("WRITE_FAILED", `${path}: cannot be written (${reason})`, { cause });
}
