import { KvantError } from "@kvant/core";
import { checkAccounting } from "./accounting.ts";
import { LayerGroup, type LayerGroupSpec } from "./layer-group.ts";
import { nullPage, type PageId } from "./page-id.ts";
import { KeyChain } from "./page-key.ts";
import type { PageCounts } from "./page-pool.ts";
import { longestPrefix, type PrefixMatch } from "./prefix-match.ts";
import type { PageAppend, PageCopy, SequenceId, SequenceTable } from "./sequence-table.ts";

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

export interface KvStats {
  /** All groups together. */
  readonly pages: PageCounts;
  readonly groups: readonly PageCounts[];
  readonly sequenceCount: number;
  /** Prompt tokens of all admissions so far, and how many of them were found in the cache. */
  readonly prefixQueryTokens: number;
  readonly prefixHitTokens: number;
  /** Cached pages that had to make room so far. */
  readonly evictionCount: number;
}

const nothing: Extension = { appends: [], copies: [] };

/**
 * Decides which page holds which tokens: policy only, plain and synchronous; the pages themselves live in a backend.
 *
 * The life of a sequence is `admit`, then per step `extend` before the step and `commit` after it has settled, then
 * `release`. "No room" is an ordinary answer (undefined, nothing changed). Preemption by recompute is `release` and a later
 * `admit` with all tokens so far; the released pages stay cached, so it often finds most of them again.
 *
 * Steps run in the order of their `extend` calls, and several may be in flight. The caller's duties are: release a sequence
 * only after the last step that includes it has settled, and never commit a token that was computed but discarded (its slot
 * then belongs to a page that is not full, which no other sequence can find).
 */
export class KvManager {
  readonly #groups: readonly LayerGroup[];
  readonly #aheadTokens: number;
  readonly #prefixReuse: boolean;
  readonly #sequences = new Map<SequenceId, SequenceTable>();
  #prefixQueryTokens = 0;
  #prefixHitTokens = 0;
  #refused:
    | { readonly salt: string | undefined; readonly tokenIds: Int32Array; readonly chains: KeyChain[] }
    | undefined;

  /** @throws INVALID_ARGUMENT without groups, or when a size is not a positive integer. */
  constructor({ groups, aheadTokens = Number.POSITIVE_INFINITY, prefixReuse = true }: KvManagerOptions) {
    if (groups.length === 0)
      throw new KvantError("INVALID_ARGUMENT", "groups is empty; a model has at least one layer group");
    if (!(aheadTokens >= 1))
      throw new KvantError("INVALID_ARGUMENT", `aheadTokens is ${aheadTokens}; it must be at least 1`);
    this.#groups = groups.map((spec) => new LayerGroup(spec));
    this.#aheadTokens = aheadTokens;
    this.#prefixReuse = prefixReuse;
  }

  /**
   * Takes a sequence in, sharing the longest cached prefix. Pages beyond it are promised, not taken: `extend` takes them,
   * and later admissions leave room for them.
   * @param tokenIds [prompt] at least one token; the last one is always left to compute.
   * @returns undefined when there is no room now.
   * @throws KV_TOO_SMALL when there would be no room even in an empty cache.
   * @throws INVALID_ARGUMENT for a live sequence id, no tokens, or a reserve below the prompt.
   */
  admit(sequenceId: SequenceId, tokenIds: Int32Array, options: AdmitOptions = {}): Admission | undefined {
    const { salt, reserve = tokenIds.length } = options;
    this.#checkNew(sequenceId);
    if (tokenIds.length === 0) throw new KvantError("INVALID_ARGUMENT", `sequence ${sequenceId} has no tokens`);
    if (!(reserve >= tokenIds.length)) {
      throw new KvantError("INVALID_ARGUMENT", `reserve is ${reserve}; the prompt alone has ${tokenIds.length} tokens`);
    }
    for (const [g, group] of this.#groups.entries()) {
      const need = group.peakPages(reserve, this.#aheadTokens);
      const { total } = group.pool.counts();
      if (need > total) {
        const sentence = `${reserve} tokens need ${need} pages of layer group ${g}, which has ${total}`;
        throw new KvantError("KV_TOO_SMALL", sentence);
      }
    }

    const chains = this.#chainsFor(tokenIds, salt);
    const match = this.#prefixReuse
      ? longestPrefix(this.#groups, chains, tokenIds)
      : { tokenCount: 0, pages: this.#groups.map(() => []) };
    if (!this.#hasRoom(match, reserve)) {
      // A scheduler asks again every step for the head of its queue: keep the hashes, they are most of the cost.
      if (this.#refused?.chains !== chains) this.#refused = { salt, tokenIds: tokenIds.slice(), chains };
      return undefined;
    }
    this.#refused = undefined;

    for (const [g, pages] of match.pages.entries()) {
      for (const page of pages) if (page !== nullPage) this.#groups[g]!.pool.retain(page);
    }
    const sequence: SequenceTable = {
      tables: match.pages,
      passed: this.#groups.map((group) => group.firstPageRead(match.tokenCount)),
      chains,
      tokenCount: match.tokenCount,
      committedTokens: match.tokenCount,
      reservedTokens: reserve,
    };
    this.#sequences.set(sequenceId, sequence);
    this.#prefixQueryTokens += tokenIds.length;
    this.#prefixHitTokens += match.tokenCount;
    return { cachedTokens: match.tokenCount, appends: entries(sequence) };
  }

  /**
   * Makes sure that positions `0 .. tokenCount - 1` have pages that only this sequence writes.
   * @returns the new table entries and the page copies that must run before the step, or undefined when there is no room.
   */
  extend(sequenceId: SequenceId, tokenCount: number): Extension | undefined {
    const sequence = this.#sequence(sequenceId);
    if (tokenCount <= sequence.tokenCount) return nothing;

    let changed = false;
    for (const [g, group] of this.#groups.entries()) {
      const need = group.pagesFor(tokenCount) - sequence.tables[g]!.length + (this.#sharesWritten(sequence, g) ? 1 : 0);
      if (need > group.pool.available) return undefined;
      if (need > 0) changed = true;
    }
    if (!changed) {
      sequence.tokenCount = tokenCount;
      return nothing;
    }

    const appends: PageAppend[] = [];
    const copies: PageCopy[] = [];
    for (const [g, group] of this.#groups.entries()) {
      const table = sequence.tables[g]!;
      if (this.#sharesWritten(sequence, g)) {
        const index = Math.floor(sequence.tokenCount / group.pageTokens);
        const from = table[index]!;
        const [to] = group.pool.take(1)!;
        table[index] = to!;
        group.pool.release([from]);
        copies.push({ group: g, from, to: to! });
        appends.push({ group: g, index, page: to! });
      }
      for (const page of group.pool.take(group.pagesFor(tokenCount) - table.length)!) {
        appends.push({ group: g, index: table.length, page });
        table.push(page);
      }
    }
    sequence.tokenCount = tokenCount;
    return { appends, copies };
  }

  /**
   * Says that the K and V of these tokens are really in their pages. Pages that have become full can from now on be found
   * by other sequences; a page with the same content as an indexed one is left out and simply not shared.
   * @param tokenIds [computed] the sequence from position 0, the prompt included; a prefix of what is committed later.
   * @throws INVALID_ARGUMENT when fewer tokens are given than before, or more than `extend` made room for.
   */
  commit(sequenceId: SequenceId, tokenIds: Int32Array): void {
    const sequence = this.#sequence(sequenceId);
    const { committedTokens, tokenCount } = sequence;
    if (tokenIds.length < committedTokens || tokenIds.length > tokenCount) {
      const range = `${committedTokens}..${tokenCount}`;
      const sentence = `${tokenIds.length} tokens committed for sequence ${sequenceId}; it can commit ${range}`;
      throw new KvantError("INVALID_ARGUMENT", sentence);
    }
    sequence.committedTokens = tokenIds.length;
    if (!this.#prefixReuse) return;
    for (const [g, group] of this.#groups.entries()) {
      const end = Math.floor(tokenIds.length / group.pageTokens);
      for (let index = Math.floor(committedTokens / group.pageTokens); index < end; index++) {
        const page = sequence.tables[g]![index]!;
        if (page === nullPage) continue;
        if (group.index.add(sequence.chains[g]!.at(index, tokenIds), page)) group.pool.keep(page);
      }
    }
  }

  /**
   * A child that shares the parent's first `tokenCount` tokens, for n > 1. Takes no page; the shared last page, if partly
   * filled, is copied when one of the two writes into it (see `Extension.copies`).
   * @param tokenCount defaults to the parent's committed tokens.
   * @throws INVALID_ARGUMENT when the parent has no pages for that many tokens, or its window has already passed them.
   */
  fork(parentId: SequenceId, childId: SequenceId, tokenCount?: number): Fork {
    const parent = this.#sequence(parentId);
    const shared = tokenCount ?? parent.committedTokens;
    this.#checkNew(childId);
    if (!(shared >= 0 && shared <= parent.tokenCount)) {
      const sentence = `cannot fork sequence ${parentId} at ${shared} tokens; it has pages for ${parent.tokenCount}`;
      throw new KvantError("INVALID_ARGUMENT", sentence);
    }
    for (const [g, group] of this.#groups.entries()) {
      if (parent.passed[g]! > group.firstPageRead(shared)) {
        const passed = parent.passed[g]! * group.pageTokens;
        const sentence = `cannot fork sequence ${parentId} at ${shared} tokens; its window has passed the first ${passed}`;
        throw new KvantError("INVALID_ARGUMENT", sentence);
      }
    }
    const child: SequenceTable = {
      tables: this.#groups.map((group, g) => parent.tables[g]!.slice(0, group.pagesFor(shared))),
      passed: [...parent.passed],
      chains: forkChains(parent.chains, shared),
      tokenCount: shared,
      committedTokens: Math.min(shared, parent.committedTokens),
      reservedTokens: parent.reservedTokens,
    };
    for (const [g, table] of child.tables.entries()) {
      for (const page of table) if (page !== nullPage) this.#groups[g]!.pool.retain(page);
    }
    this.#sequences.set(childId, child);
    return { tokenCount: shared, appends: entries(child) };
  }

  /** Ends a sequence. Its pages lose one reference, tail first; indexed ones stay cached until their room is needed. */
  release(sequenceId: SequenceId): void {
    const { tables } = this.#sequence(sequenceId);
    for (const [g, group] of this.#groups.entries()) group.pool.release(tables[g]!);
    this.#sequences.delete(sequenceId);
  }

  /**
   * Gives up the pages that no token at `position` or later reads. Their table entries become the null page here; the
   * device's entries may stay, as nothing reads them.
   * @param position the lowest position that a step not yet settled, or a later one, computes.
   * @throws INVALID_ARGUMENT when the sequence has no pages up to there.
   */
  releaseWindow(sequenceId: SequenceId, position: number): void {
    const sequence = this.#sequence(sequenceId);
    if (!(position <= sequence.tokenCount)) {
      const sentence = `position ${position} of sequence ${sequenceId} is beyond its ${sequence.tokenCount} tokens`;
      throw new KvantError("INVALID_ARGUMENT", sentence);
    }
    for (const [g, group] of this.#groups.entries()) {
      const start = sequence.passed[g]!;
      const end = group.firstPageRead(position);
      if (end <= start) continue;
      group.pool.release(sequence.tables[g]!.slice(start, end));
      sequence.tables[g]!.fill(nullPage, start, end);
      sequence.passed[g] = end;
    }
  }

  has(sequenceId: SequenceId): boolean {
    return this.#sequences.has(sequenceId);
  }

  /** The live table of one group: page `[i]` holds positions `i * pageTokens ..`, the null page where the window has passed. */
  pageTable(sequenceId: SequenceId, group = 0): readonly PageId[] {
    const table = this.#sequence(sequenceId).tables[group];
    if (table === undefined) {
      throw new KvantError("INVALID_ARGUMENT", `group ${group} is not one of the ${this.#groups.length} layer groups`);
    }
    return table;
  }

  stats(): KvStats {
    const groups = this.#groups.map(({ pool }) => pool.counts());
    const sum = (state: keyof PageCounts): number => groups.reduce((total, counts) => total + counts[state], 0);
    return {
      pages: { free: sum("free"), cached: sum("cached"), used: sum("used"), total: sum("total") },
      groups,
      sequenceCount: this.#sequences.size,
      prefixQueryTokens: this.#prefixQueryTokens,
      prefixHitTokens: this.#prefixHitTokens,
      evictionCount: this.#groups.reduce((total, { pool }) => total + pool.evictionCount, 0),
    };
  }

  /**
   * Per group: free + cached + used = total, references = table entries, used = union of live tables, and the index
   * names exactly the pages that are kept. Linear in pages and table entries.
   * @throws KV_INVARIANT with what does not hold.
   */
  checkInvariant(): void {
    for (const [g, group] of this.#groups.entries()) checkAccounting(g, group, this.#sequences);
  }

  #hasRoom(match: PrefixMatch, reserve: number): boolean {
    return this.#groups.every((group, g) => {
      let room = group.pool.available;
      for (const sequence of this.#sequences.values()) {
        const held = sequence.tables[g]!.length - sequence.passed[g]!;
        room -= this.#promised(group, sequence.reservedTokens, sequence.tables[g]!.length, held);
      }
      const pages = match.pages[g]!;
      const hits = pages.filter((page) => page !== nullPage);
      const idleHits = hits.filter((page) => group.pool.referenceCount(page) === 0);
      return this.#promised(group, reserve, pages.length, hits.length) + idleHits.length <= room;
    });
  }

  /** Pages that a sequence with `held` pages in a table of `length` entries may still take within its reserve. */
  #promised(group: LayerGroup, reserve: number, length: number, held: number): number {
    const toEnd = group.pagesFor(reserve) - length;
    return Math.max(0, Math.min(toEnd, group.peakPages(reserve, this.#aheadTokens) - held));
  }

  /** Whether the next write of a sequence falls into a page that somebody else can read. */
  #sharesWritten(sequence: SequenceTable, g: number): boolean {
    const { pageTokens, pool } = this.#groups[g]!;
    if (sequence.tokenCount % pageTokens === 0) return false;
    const page = sequence.tables[g]![Math.floor(sequence.tokenCount / pageTokens)]!;
    // Kept although partly filled for this sequence: the other side of a fork had filled, committed and left it.
    return pool.referenceCount(page) > 1 || pool.isKept(page);
  }

  #chainsFor(tokenIds: Int32Array, salt: string | undefined): KeyChain[] {
    const refused = this.#refused;
    if (refused !== undefined && refused.salt === salt && sameTokens(refused.tokenIds, tokenIds)) return refused.chains;
    const bySize = new Map<number, KeyChain>();
    return this.#groups.map(({ pageTokens }) => {
      const chain = bySize.get(pageTokens) ?? new KeyChain(pageTokens, salt);
      bySize.set(pageTokens, chain);
      return chain;
    });
  }

  #sequence(sequenceId: SequenceId): SequenceTable {
    const sequence = this.#sequences.get(sequenceId);
    if (sequence === undefined) throw new KvantError("INVALID_ARGUMENT", `sequence ${sequenceId} is not in the cache`);
    return sequence;
  }

  #checkNew(sequenceId: SequenceId): void {
    if (this.#sequences.has(sequenceId)) {
      throw new KvantError("INVALID_ARGUMENT", `sequence ${sequenceId} is already in the cache`);
    }
  }
}

function entries({ tables }: SequenceTable): PageAppend[] {
  return tables.flatMap((table, group) =>
    table.map((page, index) => ({ group, index, page })).filter(({ page }) => page !== nullPage),
  );
}

function forkChains(chains: readonly KeyChain[], tokenCount: number): KeyChain[] {
  const copies = new Map<KeyChain, KeyChain>();
  return chains.map((chain) => {
    const copy = copies.get(chain) ?? chain.fork(Math.floor(tokenCount / chain.pageTokens));
    copies.set(chain, copy);
    return copy;
  });
}

function sameTokens(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
