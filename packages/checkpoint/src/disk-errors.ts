import { KvantError } from "@kvant/core";

const fullCodes: readonly unknown[] = ["ENOSPC", "EDQUOT"];

/**
 * Runs what writes to `path` and turns the system's errors into ours.
 * @throws KvantError DISK_FULL, WRITE_FAILED naming the path, and what `action` throws itself
 */
export function writing<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    if (!(cause instanceof Error) || !("syscall" in cause) || !("code" in cause)) throw cause;
    if (fullCodes.includes(cause.code)) {
      throw new KvantError("DISK_FULL", `${path}: the disk is full (${cause.message})`, { cause });
    }
    throw new KvantError("WRITE_FAILED", `${path}: cannot be written (${cause.message})`, { cause });
  }
}
