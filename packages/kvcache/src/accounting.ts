import { KvantError } from "@kvant/core";
import type { LayerGroup } from "./layer-group.ts";
import { nullPage, type PageId } from "./page-id.ts";
import type { SequenceId, SequenceTable } from "./sequence-table.ts";

/**
 * Recounts one group from its tables and its index, and compares with what the pool believes.
 * @throws KV_INVARIANT with the first contradiction found.
 */
export function checkAccounting(g: number, group: LayerGroup, sequences: ReadonlyMap<SequenceId, SequenceTable>): void {
  const { pool, index } = group;
  const fail = (sentence: string): never => {
    throw new KvantError("KV_INVARIANT", `layer group ${g}: ${sentence}`);
  };
  pool.checkInvariant();

  const references = new Int32Array(pool.pageCount);
  for (const [sequenceId, sequence] of sequences) {
    const table = sequence.tables[g]!;
    if (table.length !== group.pagesFor(sequence.tokenCount)) {
      fail(`the table of sequence ${sequenceId} has ${table.length} pages for ${sequence.tokenCount} tokens`);
    }
    for (const [i, page] of table.entries()) {
      const isPassed = i < sequence.passed[g]!;
      if ((page === nullPage) !== isPassed) fail(`entry ${i} of sequence ${sequenceId} is page ${page}`);
      if (page !== nullPage) references[page]!++;
    }
  }

  const indexed = new Set<number>();
  for (const [, page] of index.entries()) {
    if (indexed.has(page)) fail(`page ${page} is indexed twice`);
    indexed.add(page);
  }

  let used = 0;
  for (let page = 1 as PageId; page < pool.pageCount; page = (page + 1) as PageId) {
    const counted = pool.referenceCount(page);
    if (counted !== references[page]) {
      fail(`page ${page} counts ${counted} references, the tables hold ${references[page]}`);
    }
    if (pool.isKept(page) !== indexed.has(page)) fail(`page ${page} is kept without being indexed, or the reverse`);
    if (references[page]! > 0) used++;
  }
  const counts = pool.counts();
  if (used !== counts.used) fail(`the tables hold ${used} pages, the pool counts ${counts.used} used`);
}
