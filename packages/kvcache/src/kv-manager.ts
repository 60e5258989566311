import { KvantError } from "@kvant/core";
import { checkAccounting } from "./accounting.ts";
import type { Admission, AdmitOptions, Extension, Fork, KvManagerOptions, KvStats, SwapIn } from "./answers.ts";
import { LayerGroup } from "./layer-group.ts";
import { nullPage, type PageId } from "./page-id.ts";
import { forkChains } from "./page-key.ts";
import type { PageCounts } from "./page-pool.ts";
import { longestPrefix } from "./prefix-match.ts";
import { PromptChains } from "./prompt-chains.ts";
import { hasRoom, type PageNeed } from "./room.ts";
import {
  type PageAppend,
  type PageCopy,
  type PageSwap,
  reach,
  type SequenceId,
  type SequenceTable,
  tableEntries,
} from "./sequence-table.ts";
import { SwapSpace } from "./swap-space.ts";

const nothing: Extension = { appends: [], copies: [] };

/**
 * Decides which page holds which tokens: policy only, plain and synchronous; the pages themselves live in a backend.
 *
 * The life of a sequence is `admit`, then per step `extend` before the step and `commit` after it has settled, then
 * `release`. "No room" is an ordinary answer (undefined, nothing changed). Preemption by recompute is `release` and a later
 * `admit` with all tokens so far; the released pages stay cached, so it often finds most of them again. Preemption by swap is
 * `swapOut` and a later `swapIn`; in between the sequence holds host pages only and can but be released.
 *
 * Steps run in the order of their `extend` calls, and several may be in flight. The caller's duties are: release a sequence
 * only after the last step that includes it has settled, and never commit a token that was computed but discarded (its slot
 * then belongs to a page that is not full, which no other sequence can find).
 */
export class KvManager {
  readonly #groups: readonly LayerGroup[];
  readonly #hasWindow: boolean;
  readonly #aheadTokens: number;
  readonly #prefixReuse: boolean;
  readonly #sequences = new Map<SequenceId, SequenceTable>();
  readonly #swapped: SwapSpace;
  #prefixQueryTokens = 0;
  #prefixHitTokens = 0;
  readonly #chains: PromptChains;

  /** @throws INVALID_ARGUMENT without groups, or when a size is not a positive integer. */
  constructor({ groups, aheadTokens = Number.POSITIVE_INFINITY, prefixReuse = true }: KvManagerOptions) {
    if (groups.length === 0)
      throw new KvantError("INVALID_ARGUMENT", "groups is empty; a model has at least one layer group");
    if (!(aheadTokens >= 1))
      throw new KvantError("INVALID_ARGUMENT", `aheadTokens is ${aheadTokens}; it must be at least 1`);
    this.#groups = groups.map((spec) => new LayerGroup(spec));
    this.#hasWindow = this.#groups.some(({ isWindowed }) => isWindowed);
    this.#swapped = new SwapSpace(
      this.#groups,
      groups.map(({ hostPageCount = 0 }) => hostPageCount),
    );
    this.#chains = new PromptChains(this.#groups.map(({ pageTokens }) => pageTokens));
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
    this.#checkFits(reserve);

    const chains = this.#chains.of(tokenIds, salt);
    const match = this.#prefixReuse
      ? longestPrefix(this.#groups, chains, tokenIds)
      : { tokenCount: 0, pages: this.#groups.map(() => []) };
    const needs = match.pages.map((hits) => ({ length: hits.length, hits, taken: 0 }));
    if (!this.#hasRoom(needs, reserve)) {
      this.#chains.keep(tokenIds, salt, chains);
      return undefined;
    }
    this.#chains.forget();

    for (const [g, pages] of match.pages.entries()) {
      for (const page of pages) if (page !== nullPage) this.#groups[g]!.pool.retain(page);
    }
    const sequence: SequenceTable = {
      tables: match.pages,
      passed: this.#groups.map((group) => group.firstPageRead(match.tokenCount)),
      chains,
      tokenCount: match.tokenCount,
      writableTokens: 0,
      committedTokens: match.tokenCount,
      reservedTokens: reserve,
    };
    this.#sequences.set(sequenceId, sequence);
    this.#prefixQueryTokens += tokenIds.length;
    this.#prefixHitTokens += match.tokenCount;
    return { cachedTokens: match.tokenCount, appends: tableEntries(sequence) };
  }

  /**
   * Makes sure that positions `0 .. tokenCount - 1` have pages that only this sequence writes.
   * @returns the new table entries and the page copies that must run before the step, or undefined when there is no room.
   */
  extend(sequenceId: SequenceId, tokenCount: number): Extension | undefined {
    const sequence = this.#sequence(sequenceId);
    if (tokenCount <= sequence.tokenCount) return nothing;
    if (tokenCount <= sequence.writableTokens) {
      sequence.tokenCount = tokenCount;
      return nothing;
    }

    let changed = false;
    for (let g = 0; g < this.#groups.length; g++) {
      const group = this.#groups[g]!;
      const need = group.pagesFor(tokenCount) - sequence.tables[g]!.length + (this.#sharesWritten(sequence, g) ? 1 : 0);
      if (need > group.pool.available) return undefined;
      if (need > 0) changed = true;
    }
    if (!changed) {
      reach(sequence, tokenCount, this.#groups);
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
    reach(sequence, tokenCount, this.#groups);
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
    this.#checkUnpassed(`fork sequence ${parentId}`, parent, shared);
    const child: SequenceTable = {
      tables: this.#groups.map((group, g) => parent.tables[g]!.slice(0, group.pagesFor(shared))),
      passed: [...parent.passed],
      chains: forkChains(parent.chains, shared),
      tokenCount: shared,
      writableTokens: 0,
      committedTokens: Math.min(shared, parent.committedTokens),
      reservedTokens: parent.reservedTokens,
    };
    for (const [g, table] of child.tables.entries()) {
      for (const page of table) if (page !== nullPage) this.#groups[g]!.pool.retain(page);
    }
    this.#sequences.set(childId, child);
    // The two share the page that each writes next.
    parent.writableTokens = 0;
    return { tokenCount: shared, appends: tableEntries(child) };
  }

  /**
   * Moves a sequence to host memory, all its pages or none: shared ones are copied out like its own, so that it holds on to
   * nothing on the device. Pages that are indexed stay cached until their room is needed.
   * @param tokenCount how many leading tokens are really computed, at least the committed ones; pages beyond are dropped.
   * @returns the pages to move before the next step, or undefined when host memory has too few pages.
   * @throws INVALID_ARGUMENT for another token count.
   */
  swapOut(sequenceId: SequenceId, tokenCount: number): readonly PageSwap[] | undefined {
    const sequence = this.#sequence(sequenceId);
    if (!(tokenCount >= sequence.committedTokens && tokenCount <= sequence.tokenCount)) {
      const range = `${sequence.committedTokens}..${sequence.tokenCount}`;
      const sentence = `${tokenCount} tokens of sequence ${sequenceId} cannot be swapped out; it has ${range}`;
      throw new KvantError("INVALID_ARGUMENT", sentence);
    }
    this.#checkUnpassed(`swap out sequence ${sequenceId}`, sequence, tokenCount);
    const swaps = this.#swapped.store(sequenceId, sequence, tokenCount);
    if (swaps !== undefined) this.#releaseLive(sequenceId, sequence);
    return swaps;
  }

  /**
   * Brings a swapped sequence back as it was at `swapOut`. Pages that are still cached under their key are shared as they are,
   * the others get new pages; its host pages are free at once, because swaps run in order.
   * @param reserve tokens that there must be room for, at least those it has.
   * @returns undefined when there is no room for all its pages now.
   * @throws KV_TOO_SMALL when there would be no room even in an empty cache; INVALID_ARGUMENT for a sequence not swapped out.
   */
  swapIn(sequenceId: SequenceId, reserve: number): SwapIn | undefined {
    const stored = this.#swapped.get(sequenceId);
    const reservedTokens = Math.max(reserve, stored.reservedTokens);
    this.#checkFits(reservedTokens);
    const found = this.#swapped.found(stored);
    const needs = found.map((hits, g): PageNeed => {
      const taken = hits.filter((page) => page === nullPage).length;
      return { length: stored.passed[g]! + hits.length, hits, taken };
    });
    if (!this.#hasRoom(needs, reservedTokens)) return undefined;

    const swaps: PageSwap[] = [];
    let { committedTokens } = stored;
    const tables = found.map((pages, g) => {
      const { pool, pageTokens } = this.#groups[g]!;
      for (const page of pages) if (page !== nullPage) pool.retain(page);
      const fresh = pool.take(needs[g]!.taken)!.values();
      const table = pages.map((page, i) => {
        if (page !== nullPage) return page;
        const taken = fresh.next().value!;
        swaps.push({ group: g, page: taken, hostPage: stored.hostTables[g]![i]! });
        // Found by others again after the next commit: only then the step that fills it has certainly run.
        committedTokens = Math.min(committedTokens, (stored.passed[g]! + i) * pageTokens);
        return taken;
      });
      return [...new Array<PageId>(stored.passed[g]!).fill(nullPage), ...table];
    });
    const { chains, tokenCount } = stored;
    const passed = [...stored.passed];
    const sequence = { tables, passed, chains, tokenCount, writableTokens: 0, committedTokens, reservedTokens };
    this.#swapped.drop(sequenceId);
    this.#sequences.set(sequenceId, sequence);
    return { appends: tableEntries(sequence), swaps };
  }

  /**
   * Ends a sequence, live or swapped out. Its pages lose one reference, tail first; indexed ones stay cached until their room
   * is needed.
   */
  release(sequenceId: SequenceId): void {
    if (this.#swapped.has(sequenceId)) this.#swapped.drop(sequenceId);
    else this.#releaseLive(sequenceId, this.#sequence(sequenceId));
  }

  #releaseLive(sequenceId: SequenceId, { tables }: SequenceTable): void {
    for (const [g, group] of this.#groups.entries()) group.pool.release(tables[g]!);
    this.#sequences.delete(sequenceId);
  }

  /**
   * Gives up the pages that no token at `position` or later reads. Their table entries become the null page here; the
   * device's entries may stay, as nothing reads them.
   * @param position the lowest position that a step not yet settled, or a later one, computes.
   * @throws INVALID_ARGUMENT where a group has a window and the sequence has no pages up to there.
   */
  releaseWindow(sequenceId: SequenceId, position: number): void {
    if (!this.#hasWindow) return;
    const sequence = this.#sequence(sequenceId);
    if (!(position <= sequence.tokenCount)) {
      const sentence = `position ${position} of sequence ${sequenceId} is beyond its ${sequence.tokenCount} tokens`;
      throw new KvantError("INVALID_ARGUMENT", sentence);
    }
    for (let g = 0; g < this.#groups.length; g++) {
      const group = this.#groups[g]!;
      if (!group.isWindowed) continue;
      const start = sequence.passed[g]!;
      const end = group.firstPageRead(position);
      if (end <= start) continue;
      group.pool.release(sequence.tables[g]!.slice(start, end));
      sequence.tables[g]!.fill(nullPage, start, end);
      sequence.passed[g] = end;
    }
  }

  has(sequenceId: SequenceId): boolean {
    return this.#sequences.has(sequenceId) || this.#swapped.has(sequenceId);
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
      hostPages: this.#swapped.counts(),
      sequenceCount: this.#sequences.size,
      swappedCount: this.#swapped.sequenceCount,
      prefixQueryTokens: this.#prefixQueryTokens,
      prefixHitTokens: this.#prefixHitTokens,
      evictionCount: this.#groups.reduce((total, { pool }) => total + pool.evictionCount, 0),
    };
  }

  /**
   * Per group: free + cached + used = total, references = table entries, used = union of live tables, and the index
   * names exactly the pages that are kept. Host pages: free + used = total, used = union of the swapped tables. Linear in
   * pages and table entries.
   * @throws KV_INVARIANT with what does not hold.
   */
  checkInvariant(): void {
    for (const [g, group] of this.#groups.entries()) checkAccounting(g, group, this.#sequences);
    this.#swapped.checkInvariant();
  }

  #hasRoom(needs: readonly PageNeed[], reserve: number): boolean {
    return hasRoom(this.#groups, this.#sequences.values(), needs, reserve, this.#aheadTokens);
  }

  #checkFits(reserve: number): void {
    for (const [g, group] of this.#groups.entries()) {
      const need = group.peakPages(reserve, this.#aheadTokens);
      const { total } = group.pool.counts();
      if (need <= total) continue;
      const sentence = `${reserve} tokens need ${need} pages of layer group ${g}, which has ${total}`;
      throw new KvantError("KV_TOO_SMALL", sentence);
    }
  }

  #checkUnpassed(action: string, { passed }: SequenceTable, tokenCount: number): void {
    for (const [g, group] of this.#groups.entries()) {
      if (passed[g]! <= group.firstPageRead(tokenCount)) continue;
      const tokens = passed[g]! * group.pageTokens;
      const sentence = `cannot ${action} at ${tokenCount} tokens; its window has passed the first ${tokens}`;
      throw new KvantError("INVALID_ARGUMENT", sentence);
    }
  }

  /** Whether the next write of a sequence falls into a page that somebody else can read. */
  #sharesWritten(sequence: SequenceTable, g: number): boolean {
    const { pageTokens, pool } = this.#groups[g]!;
    if (sequence.tokenCount % pageTokens === 0) return false;
    const page = sequence.tables[g]![Math.floor(sequence.tokenCount / pageTokens)]!;
    // Kept although partly filled for this sequence: the other side of a fork had filled, committed and left it.
    return pool.referenceCount(page) > 1 || pool.isKept(page);
  }

  #sequence(sequenceId: SequenceId): SequenceTable {
    const sequence = this.#sequences.get(sequenceId);
    if (sequence === undefined) throw new KvantError("INVALID_ARGUMENT", `sequence ${sequenceId} is not in the cache`);
    return sequence;
  }

  #checkNew(sequenceId: SequenceId): void {
    if (this.has(sequenceId)) {
      throw new KvantError("INVALID_ARGUMENT", `sequence ${sequenceId} is already in the cache`);
    }
  }
}
