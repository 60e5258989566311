import { renameSync, rmSync, writeFileSync } from "node:fs";

/**
 * Writes a file into a temporary one beside `path`, flushed, then renamed: a reader sees the old file or the whole new one. The
 * system's errors come through as they are.
 */
export function replaceTextFile(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, text, { flush: true });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
