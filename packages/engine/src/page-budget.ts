import { totalmem } from "node:os";
import { KvantError } from "@kvant/core";
import { pageLayout } from "@kvant/formats";
import type { KvGroup } from "@kvant/kernels";
import type { EngineOptions } from "./engine-options.ts";

/** By default as many pages as this many whole contexts fill: enough for dozens of ordinary requests. */
const defaultContexts = 16;
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
}

/**
 * How many pages each layer group gets: `kvPages`, or what fits `kvMemoryBytes`, or room for 16 whole contexts (fewer when
 * there are fewer row slots) within a quarter of the machine's memory. Groups get the same number of pages: a page of
 * every group is needed for the same run of tokens.
 * @throws KV_TOO_SMALL when not even two pages fit
 */
export function pageBudget(groups: readonly KvGroup[], options: PageBudgetOptions): PageBudget {
  const { pageTokens, maxRows, contextLength } = options;
  const bytesPerPage = groups.reduce((sum, group) => sum + groupPageBytes(group, pageTokens), 0);
  const contextPages = Math.ceil(contextLength / pageTokens);
  const count = options.kvPages ?? pagesForBytes(options, bytesPerPage, contextPages, maxRows);
  if (!Number.isInteger(count) || count < 2) {
    const asked = options.kvPages === undefined ? `${options.kvMemoryBytes} bytes` : `${options.kvPages} pages`;
    throw new KvantError(
      "KV_TOO_SMALL",
      `a KV cache of ${asked} is too small: page 0 is reserved and a page takes ${bytesPerPage} bytes for ${pageTokens} tokens`,
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
  const affordable = Math.floor((totalmem() * defaultShareOfMemory) / bytesPerPage);
  return 1 + Math.min(affordable, contextPages * Math.min(maxRows, defaultContexts));
}

export function groupPageBytes(group: KvGroup, pageTokens: number): number {
  return pageLayout({ ...group, pageTokens, scales: group.scales.kind }).pageBytes;
}
