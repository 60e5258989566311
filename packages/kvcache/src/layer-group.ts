import { KvantError } from "@kvant/core";
import { PagePool } from "./page-pool.ts";
import { PrefixIndex } from "./prefix-index.ts";

/** The layers that share a page table: same attention window, KV heads, head dim and formats. */
export interface LayerGroupSpec {
  /** Pages of this group in device memory, the reserved page 0 included. */
  readonly pageCount: number;
  /** Pages of this group in host memory that preempted sequences are swapped out to. Default 0: no swap. */
  readonly hostPageCount?: number;
  /** Tokens in a page. */
  readonly pageTokens: number;
  /** Sliding window in tokens: position p attends to `p - window + 1 .. p`. Absent: to everything before it. */
  readonly window?: number;
}

/** The pages of one layer group and which of them can be found again. */
export class LayerGroup {
  readonly pageTokens: number;
  readonly window: number; // Infinity without a sliding window
  readonly pool: PagePool;
  readonly index: PrefixIndex;

  /** @throws INVALID_ARGUMENT when a size is not a positive integer. */
  constructor({ pageCount, pageTokens, window }: LayerGroupSpec) {
    positive("pageTokens", pageTokens);
    if (window !== undefined) positive("window", window);
    this.pageTokens = pageTokens;
    this.window = window ?? Number.POSITIVE_INFINITY;
    this.pool = new PagePool(pageCount, (page) => this.index.remove(page));
    this.index = new PrefixIndex(pageCount);
  }

  get isWindowed(): boolean {
    return this.window !== Number.POSITIVE_INFINITY;
  }

  /** Pages that hold positions `0 .. tokenCount - 1`. */
  pagesFor(tokenCount: number): number {
    return Math.ceil(tokenCount / this.pageTokens);
  }

  /** Index of the first page that a token at `position` or later still reads. */
  firstPageRead(position: number): number {
    return this.isWindowed ? Math.floor(Math.max(0, position - this.window + 1) / this.pageTokens) : 0;
  }

  /**
   * The most pages that a sequence holds at once while it runs to `tokenCount` tokens.
   * @param aheadTokens how far `extend` runs ahead of the position given to `releaseWindow`; Infinity when unknown.
   */
  peakPages(tokenCount: number, aheadTokens: number): number {
    const all = this.pagesFor(tokenCount);
    if (!this.isWindowed || aheadTokens === Number.POSITIVE_INFINITY) return all;
    // The live positions are window - 1 old ones and aheadTokens new ones; a run of n touches at most ceil((n - 1) / size) + 1 pages.
    return Math.min(all, Math.ceil((this.window + aheadTokens - 2) / this.pageTokens) + 1);
  }
}

function positive(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) {
    throw new KvantError("INVALID_ARGUMENT", `${name} is ${value}; it must be a positive integer`, { field: name });
  }
}
