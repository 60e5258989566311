import { KvantError } from "@kvant/core";
import { type HostPageCounts, type HostPageId, HostPool } from "./host-pool.ts";
import type { LayerGroup } from "./layer-group.ts";
import { nullPage, type PageId } from "./page-id.ts";
import type { KeyChain } from "./page-key.ts";
import type { PageSwap, SequenceId, SequenceTable } from "./sequence-table.ts";

/** What is kept of a sequence whose pages wait in host memory. */
export interface SwappedSequence {
  /** [groups][pages] host page of each table entry from `passed` on. */
  readonly hostTables: readonly (readonly HostPageId[])[];
  /** [groups] leading table entries that the window has passed. */
  readonly passed: readonly number[];
  readonly chains: readonly KeyChain[];
  readonly tokenCount: number;
  readonly committedTokens: number;
  readonly reservedTokens: number;
}

/**
 * The swapped sequences and the host pages that hold their tokens. A swapped sequence holds no device page, not even one
 * that others share: what it holds on to could be the room that everybody in front of it waits for.
 */
export class SwapSpace {
  readonly #groups: readonly LayerGroup[];
  readonly #pools: readonly HostPool[]; // [groups]
  readonly #sequences = new Map<SequenceId, SwappedSequence>();

  constructor(groups: readonly LayerGroup[], hostPageCounts: readonly number[]) {
    this.#groups = groups;
    this.#pools = hostPageCounts.map((count) => new HostPool(count));
  }

  get sequenceCount(): number {
    return this.#sequences.size;
  }

  has(sequenceId: SequenceId): boolean {
    return this.#sequences.has(sequenceId);
  }

  get(sequenceId: SequenceId): SwappedSequence {
    const sequence = this.#sequences.get(sequenceId);
    if (sequence === undefined) throw new KvantError("INVALID_ARGUMENT", `sequence ${sequenceId} is not swapped out`);
    return sequence;
  }

  /** Takes host pages for the first `tokenCount` tokens of a live sequence; undefined when a pool has too few. */
  store(sequenceId: SequenceId, sequence: SequenceTable, tokenCount: number): readonly PageSwap[] | undefined {
    const tables = this.#groups.map((group, g) =>
      sequence.tables[g]!.slice(group.firstPageRead(tokenCount), group.pagesFor(tokenCount)),
    );
    if (tables.some(({ length }, g) => length > this.#pools[g]!.available)) return undefined;
    const hostTables = tables.map(({ length }, g) => this.#pools[g]!.take(length)!);
    this.#sequences.set(sequenceId, {
      hostTables,
      passed: this.#groups.map((group) => group.firstPageRead(tokenCount)),
      chains: sequence.chains,
      tokenCount,
      committedTokens: sequence.committedTokens,
      reservedTokens: sequence.reservedTokens,
    });
    return tables.flatMap((table, group) =>
      table.map((page, i) => ({ group, page, hostPage: hostTables[group]![i]! })),
    );
  }

  /** [groups][pages] device pages that still hold what went out, the null page where there is none. */
  found(sequence: SwappedSequence): PageId[][] {
    return this.#groups.map((group, g) => {
      const committed = Math.floor(sequence.committedTokens / group.pageTokens);
      return sequence.hostTables[g]!.map((_, i) => {
        const index = sequence.passed[g]! + i;
        const key = index < committed ? sequence.chains[g]!.known(index) : undefined;
        return (key === undefined ? undefined : group.index.find(key)) ?? nullPage;
      });
    });
  }

  /** Forgets a sequence; its host pages are free for whoever goes out next. */
  drop(sequenceId: SequenceId): void {
    for (const [g, pages] of this.get(sequenceId).hostTables.entries()) this.#pools[g]!.release(pages);
    this.#sequences.delete(sequenceId);
  }

  counts(): HostPageCounts {
    const counts = this.#pools.map((pool) => pool.counts());
    const sum = (state: keyof HostPageCounts): number => counts.reduce((total, each) => total + each[state], 0);
    return { free: sum("free"), used: sum("used"), total: sum("total") };
  }

  /** @throws KV_INVARIANT with the first contradiction found. */
  checkInvariant(): void {
    for (const [g, pool] of this.#pools.entries()) {
      pool.checkInvariant([...this.#sequences.values()].flatMap(({ hostTables }) => hostTables[g]!));
    }
    for (const [sequenceId, { hostTables, passed, tokenCount }] of this.#sequences) {
      for (const [g, group] of this.#groups.entries()) {
        const expected = group.pagesFor(tokenCount) - passed[g]!;
        if (hostTables[g]!.length === expected) continue;
        const sentence = `swapped sequence ${sequenceId} has ${hostTables[g]!.length} host pages of layer group ${g}, not ${expected}`;
        throw new KvantError("KV_INVARIANT", sentence);
      }
    }
  }
}
