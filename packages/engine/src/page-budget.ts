import { KvantError } from "@kvant/core";
import { pageLayout } from "@kvant/formats";
import type { DeviceMemory, KvGroup } from "@kvant/kernels";
import type { EngineOptions } from "./engine-options.ts";
import { machineMemory } from "./machine-memory.ts";

/** By default as many pages as this many whole contexts fill: enough for dozens of ordinary requests. */
const defaultContexts = 16;
/** By default this share of what a device with memory of its own has left for pages; the rest absorbs fragmentation. */
const defaultShareOfDevice = 0.9;
/** By default at most this share of the machine's memory; pages take real memory only once they are written. */
const defaultShareOfMemory = 1 / 4;

export interface PageBudget {
  /** `[kvGroups]` pages of each group's pool, the reserved page 0 included. */
  readonly pageCounts: readonly number[];
  /** Tokens that one sequence alone can hold. */
  readonly poolTokens: number;
}

export interface PageBudgetOptions extends Pick<EngineOptions, "kvMemoryBytes" | "kvPages"> {
  readonly pageTokens: number;
  readonly maxRows: number;
  readonly contextLength: number;
  /** Of a device with memory of its own. */
  readonly deviceMemory?: DeviceMemory | undefined;
}

/**
 * How many pages each layer group gets: `kvPages`, or what fits `kvMemoryBytes`. Else, on a device with memory of its own, as
 * many as fit nine tenths of what weights, activations and the reserve leave, up to a whole context per row slot; in the
 * machine's memory, room for 16 whole contexts (fewer when there are fewer row slots) within a quarter of it. Groups get the
 * same number of pages: a page of every group is needed for the same run of tokens.
 * @throws KV_TOO_SMALL when not even two pages fit, OUT_OF_MEMORY when the weights alone do not fit the device
 */
export function pageBudget(groups: readonly KvGroup[], options: PageBudgetOptions): PageBudget {
  const { pageTokens, maxRows, contextLength } = options;
  const bytesPerPage = groups.reduce((sum, group) => sum + groupPageBytes(group, pageTokens), 0);
  const contextPages = Math.ceil(contextLength / pageTokens);
  const count = options.kvPages ?? pagesForBytes(options, bytesPerPage, contextPages, maxRows);
  if (!Number.isInteger(count) || count < 2) {
    throw new KvantError(
      "KV_TOO_SMALL",
      `a KV cache of ${asked(options)} is too small: page 0 is reserved and a page takes ${bytesPerPage} bytes for ${pageTokens} tokens`,
      { field: options.kvPages === undefined ? "kvMemoryBytes" : "kvPages" },
    );
  }
  return { pageCounts: groups.map(() => count), poolTokens: (count - 1) * pageTokens };
}

function pagesForBytes(
  options: PageBudgetOptions,
  bytesPerPage: number,
  contextPages: number,
  maxRows: number,
): number {
  if (options.kvMemoryBytes !== undefined) return Math.floor(options.kvMemoryBytes / bytesPerPage);
  if (options.deviceMemory !== undefined) {
    const affordable = Math.floor((spareBytes(options.deviceMemory) * defaultShareOfDevice) / bytesPerPage);
    return Math.min(affordable, 1 + contextPages * maxRows);
  }
  const affordable = Math.floor((machineMemory() * defaultShareOfMemory) / bytesPerPage);
  return 1 + Math.min(affordable, contextPages * Math.min(maxRows, defaultContexts));
}

/** What a device has left for pages. */
function spareBytes(memory: DeviceMemory): number {
  const { freeBytes, totalBytes, weightBytes, activationBytes, reserveBytes } = memory;
  if (weightBytes + activationBytes > freeBytes) {
    throw new KvantError(
      "OUT_OF_MEMORY",
      `weights of ${weightBytes} bytes and activations of ${activationBytes} do not fit the device: ${freeBytes} of its ${totalBytes} bytes are free`,
    );
  }
  return Math.max(0, freeBytes - weightBytes - activationBytes - reserveBytes);
}

function asked({ kvPages, kvMemoryBytes, deviceMemory }: PageBudgetOptions): string {
  if (kvPages !== undefined) return `${kvPages} pages`;
  if (kvMemoryBytes !== undefined) return `${kvMemoryBytes} bytes`;
  if (deviceMemory === undefined)
    return `${Math.floor(machineMemory() * defaultShareOfMemory)} bytes (a quarter of the machine's memory)`;
  const { freeBytes, weightBytes, activationBytes, reserveBytes } = deviceMemory;
  return (
    `${Math.floor(spareBytes(deviceMemory) * defaultShareOfDevice)} bytes (of ${freeBytes} free on the device, weights take ` +
    `${weightBytes}, activations ${activationBytes}, and ${reserveBytes} are kept for workspaces)`
  );
}

export function groupPageBytes(group: KvGroup, pageTokens: number): number {
  return pageLayout({ ...group, pageTokens, scales: group.scales.kind }).pageBytes;
}
