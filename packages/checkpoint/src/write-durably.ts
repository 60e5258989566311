import { closeSync, fsyncSync, openSync, writeFileSync } from "node:fs";
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
