import type { HostPageId } from "./host-pool.ts";
import { nullPage, type PageId } from "./page-id.ts";
import type { KeyChain } from "./page-key.ts";

/** A sequence's name, chosen by the caller. */
export type SequenceId = number | string;

/** What the manager knows of one live sequence. */
export interface SequenceTable {
  /** [groups][pages] page of each run of `pageTokens` positions; the null page where the window has passed. */
  readonly tables: readonly PageId[][];
  /** [groups] how many leading entries of the table are null pages. */
  readonly passed: number[];
  /** [groups] page keys; groups with one page size share a chain. */
  readonly chains: readonly KeyChain[];
  /** Positions `0 .. tokenCount - 1` have a place in the tables. */
  tokenCount: number;
  /** Positions from `tokenCount` up to here have pages that only this sequence writes; 0: to be found out. */
  writableTokens: number;
  /** Positions `0 .. committedTokens - 1` hold K and V of known tokens. */
  committedTokens: number;
  /** Tokens the sequence was admitted for; its promised pages are held back from later admissions. */
  readonly reservedTokens: number;
}

/** An entry to write into a sequence's device page table. */
export interface PageAppend {
  readonly group: number;
  /** Index in the table: the page holds positions `index * pageTokens ..`. */
  readonly index: number;
  readonly page: PageId;
}

/** A whole page to copy in device memory before the step's first write. */
export interface PageCopy {
  readonly group: number;
  readonly from: PageId;
  readonly to: PageId;
}

/** A whole page to move between device and host memory. */
export interface PageSwap {
  readonly group: number;
  readonly page: PageId;
  readonly hostPage: HostPageId;
}

/** The entries of a sequence's whole table. */
export function tableEntries({ tables }: SequenceTable): PageAppend[] {
  return tables.flatMap((table, group) =>
    table.map((page, index) => ({ group, index, page })).filter(({ page }) => page !== nullPage),
  );
}

/** Gives a sequence a place for so many tokens, all in pages that are its own to write. */
export function reach(
  sequence: SequenceTable,
  tokenCount: number,
  groups: readonly { readonly pageTokens: number }[],
): void {
  sequence.tokenCount = tokenCount;
  sequence.writableTokens = Number.POSITIVE_INFINITY;
  for (let g = 0; g < groups.length; g++) {
    const places = sequence.tables[g]!.length * groups[g]!.pageTokens;
    sequence.writableTokens = Math.min(sequence.writableTokens, places);
  }
}
