import { KvantError } from "@kvant/core";
import type { KvGroup } from "@kvant/kernels";
import { machineMemory } from "./machine-memory.ts";
import { groupPageBytes } from "./page-budget.ts";

/** By default at most this much: the swapped sequences of an ordinary burst, page-locked in 1.5 s (H100 host). */
const defaultBytes = 4 * 2 ** 30;
/** By default at most this share of the machine's memory: page-locked memory is lost for everybody else. */
const defaultShareOfMemory = 1 / 4;

export interface HostPageOptions {
  readonly swapMemoryBytes: number | undefined;
  readonly pageTokens: number;
  /** `[kvGroups]` pages on the device, the reserved one included. */
  readonly pageCounts: readonly number[];
  /** False where host memory is the device's memory: a swap would only copy within it. */
  readonly deviceHasOwnMemory: boolean;
}

/**
 * `[kvGroups]` host pages for preempted sequences: what fits `swapMemoryBytes`, each group the same number.
 * @throws INVALID_ARGUMENT for bytes below 0
 */
export function hostPages(groups: readonly KvGroup[], options: HostPageOptions): number[] {
  const { swapMemoryBytes, pageTokens, pageCounts, deviceHasOwnMemory } = options;
  const bytesPerPage = groups.reduce((sum, group) => sum + groupPageBytes(group, pageTokens), 0);
  if (swapMemoryBytes === undefined) {
    const affordable = deviceHasOwnMemory ? Math.min(defaultBytes, machineMemory() * defaultShareOfMemory) : 0;
    // What is preempted has been on the device before.
    return pageCounts.map((count) => Math.min(count - 1, Math.floor(affordable / bytesPerPage)));
  }
  if (!(swapMemoryBytes >= 0 && Number.isFinite(swapMemoryBytes))) {
    const sentence = `swapMemoryBytes is ${swapMemoryBytes}; it must be 0 (no swap) or more`;
    throw new KvantError("INVALID_ARGUMENT", sentence, { field: "swapMemoryBytes" });
  }
  return groups.map(() => Math.floor(swapMemoryBytes / bytesPerPage));
}
