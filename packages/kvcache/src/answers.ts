import type { HostPageCounts } from "./host-pool.ts";
import type { LayerGroupSpec } from "./layer-group.ts";
import type { PageCounts } from "./page-pool.ts";
import type { PageAppend, PageCopy, PageSwap } from "./sequence-table.ts";

export interface KvManagerOptions {
  /** One entry per layer group; most models have one, Gemma 2 and 3 two. */
  readonly groups: readonly LayerGroupSpec[];
  /**
   * The most tokens that `extend` runs ahead of the position last given to `releaseWindow`: chunk size times steps in flight.
   * It bounds what a windowed group can need at once; without it a windowed sequence is admitted as if nothing were released.
   */
  readonly aheadTokens?: number;
  /** False: no page is ever indexed or shared between requests (forks still share). Default true. */
  readonly prefixReuse?: boolean;
}

export interface AdmitOptions {
  /** Sequences share pages only with sequences of the same salt, one per tenant. */
  readonly salt?: string;
  /** Tokens that there must be room for, at least the prompt (the default): prompt and expected output. */
  readonly reserve?: number;
}

export interface Admission {
  /** Leading prompt tokens whose K and V are already in pages: computing starts at this position. */
  readonly cachedTokens: number;
  /** Table entries of the cached pages. */
  readonly appends: readonly PageAppend[];
}

export interface Extension {
  readonly appends: readonly PageAppend[];
  /** To run before the step's first write; each copy's `to` is also in `appends`. */
  readonly copies: readonly PageCopy[];
}

export interface Fork {
  /** Tokens the child shares with its parent. */
  readonly tokenCount: number;
  /** The child's whole table. */
  readonly appends: readonly PageAppend[];
}

export interface SwapIn {
  /** The sequence's whole table. */
  readonly appends: readonly PageAppend[];
  /** Pages to move from host memory before the next step; the others were still on the device. */
  readonly swaps: readonly PageSwap[];
}

export interface KvStats {
  /** All groups together. */
  readonly pages: PageCounts;
  readonly groups: readonly PageCounts[];
  /** Host pages of all groups together. */
  readonly hostPages: HostPageCounts;
  /** Live sequences, those that are swapped out not counted. */
  readonly sequenceCount: number;
  readonly swappedCount: number;
  /** Prompt tokens of all admissions so far, and how many of them were found in the cache. */
  readonly prefixQueryTokens: number;
  readonly prefixHitTokens: number;
  /** Cached pages that had to make room so far. */
  readonly evictionCount: number;
}
