import type { LayerGroup } from "./layer-group.ts";
import { nullPage, type PageId } from "./page-id.ts";
import type { SequenceTable } from "./sequence-table.ts";

/** What a sequence that comes in needs of one group at once. */
export interface PageNeed {
  /** Entries that its table starts with, passed ones included. */
  readonly length: number;
  /** Pages with the right content: shared, not taken. Null pages are passed over. */
  readonly hits: readonly PageId[];
  /** Pages to take at once. */
  readonly taken: number;
}

/**
 * Whether every group has the pages that a sequence needs at once and up to its reserve, beside those promised to the live
 * sequences.
 * @param needs [groups]
 */
export function hasRoom(
  groups: readonly LayerGroup[],
  live: Iterable<SequenceTable>,
  needs: readonly PageNeed[],
  reserve: number,
  aheadTokens: number,
): boolean {
  const sequences = [...live];
  return groups.every((group, g) => {
    let room = group.pool.available;
    for (const { tables, passed, reservedTokens } of sequences) {
      room -= promised(group, reservedTokens, tables[g]!.length, tables[g]!.length - passed[g]!, aheadTokens);
    }
    const { length, hits, taken } = needs[g]!;
    const shared = hits.filter((page) => page !== nullPage);
    const idle = shared.filter((page) => group.pool.referenceCount(page) === 0);
    return promised(group, reserve, length, shared.length + taken, aheadTokens) + idle.length + taken <= room;
  });
}

/** Pages that a sequence with `held` pages in a table of `length` entries may still take within its reserve. */
function promised(group: LayerGroup, reserve: number, length: number, held: number, aheadTokens: number): number {
  const toEnd = group.pagesFor(reserve) - length;
  return Math.max(0, Math.min(toEnd, group.peakPages(reserve, aheadTokens) - held));
}
