import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { writing } from "./disk-errors.ts";

/** Writes a small file and flushes it. @throws KvantError DISK_FULL, WRITE_FAILED */
export function writeDurably(path: string, content: string | Uint8Array): void {
  writing(path, () => {
    const descriptor = openSync(path, "w");
    try {
      writeFileSync(descriptor, content);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  });
}

/**
 * Writes a file into a temporary one beside `path`, flushed, then renamed, so that a reader sees the old file or the whole new
 * one. The system's errors, and what `write` throws, come through as they are.
 */
export function replaceFile(path: string, write: (descriptor: number) => void): void {
  const temporary = `${path}.${process.pid}.tmp`;
  const descriptor = openSync(temporary, "w");
  try {
    try {
      write(descriptor);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Writes all of the data, however much of it one call takes. */
export function writeAll(descriptor: number, data: Uint8Array): void {
  for (let written = 0; written < data.length; ) {
    written += writeSync(descriptor, data, written, Math.min(data.length - written, 2 ** 30));
  }
}

/** Flushes a file, or the entries of a folder: a rename in it then outlives a power cut. @throws KvantError DISK_FULL, WRITE_FAILED */
export function flush(path: string): void {
  // Windows flushes neither folders nor what is open for reading.
  if (process.platform === "win32") return;
  writing(path, () => {
    const descriptor = openSync(path, "r");
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  });
}
