import { expect } from "vitest";
import { KvManager, type LayerGroupSpec, nullPage, type PageAppend, type PageCopy } from "../src/index.ts";
import type { SeededRandom } from "./seeded-random.ts";

interface ModelSequence {
  readonly salt: string;
  /** Everything the sequence will compute, the prompt first. */
  readonly tokenIds: number[];
  /** [tokenIds] names of the histories up to each token. */
  readonly histories: number[];
  /** Positions that steps have written. */
  written: number;
  committed: number;
  /** Position given to the last `releaseWindow`. */
  passed: number;
  /** [groups][index] what a device's page table would hold. */
  readonly deviceTables: number[][];
}

const sequenceCountLimit = 20;
const sequenceTokensLimit = 70;
const discardedToken = -1;

/**
 * A KvManager beside the naive cache it must be indistinguishable from. Every sequence remembers its whole token history,
 * and a page slot remembers the history that was written into it; whatever is shared, copied or evicted, each position
 * that a sequence can still read must hold exactly its own history.
 */
export class CacheModel {
  readonly manager: KvManager;
  readonly #groups: readonly LayerGroupSpec[];
  readonly #random: SeededRandom;
  readonly #memory: number[][]; // [groups][page * pageTokens + slot] the history whose K and V lie there
  readonly #hostMemory: number[][]; // the same of host pages
  readonly #histories = new Map<string, number>();
  readonly #sequences = new Map<number, ModelSequence>();
  readonly #swapped = new Map<number, ModelSequence>();
  #nextId = 0;
  readonly tally = {
    admitted: 0,
    hitTokens: 0,
    refused: 0,
    copies: 0,
    forks: 0,
    preempted: 0,
    swapped: 0,
    resumed: 0,
    resumedHits: 0,
  };

  constructor(groups: readonly LayerGroupSpec[], random: SeededRandom) {
    this.manager = new KvManager({ groups });
    this.#groups = groups;
    this.#random = random;
    this.#memory = groups.map(() => []);
    this.#hostMemory = groups.map(() => []);
  }

  /** One random operation, then every check. */
  act(): void {
    const random = this.#random;
    const ids = [...this.#sequences.keys()];
    const choice = random.unit();
    if (ids.length === 0) this.#admit();
    else if (ids.length > sequenceCountLimit) this.#release(random.pick(ids));
    else if (choice < 0.12) this.#admit();
    else if (choice < 0.8) this.#step(random.pick(ids));
    else if (choice < 0.82) this.#swapOut(random.pick(ids));
    else if (choice < 0.85) this.#swapIn();
    else if (choice < 0.89) this.#fork(random.pick(ids));
    else if (choice < 0.94) this.#releaseWindow(random.pick(ids));
    else this.#release(random.pick(ids));
    this.#check();
  }

  releaseAll(): void {
    for (const id of [...this.#sequences.keys(), ...this.#swapped.keys()]) this.#release(id);
    this.#check();
  }

  /** Two token ids and two salts make long common prefixes likely. */
  #admit(): void {
    const random = this.#random;
    const tokenIds = Array.from({ length: 1 + random.below(50) }, (_, i) => (i % 4 === 0 ? random.below(2) : 7));
    this.#admitTokens(tokenIds, random.pick(["", "", "tenant"]));
  }

  #admitTokens(tokenIds: number[], salt: string): void {
    const id = this.#nextId++;
    const reserve = tokenIds.length + this.#random.below(10);
    const admission = this.manager.admit(id, Int32Array.from(tokenIds), { salt, reserve });
    if (admission === undefined) {
      this.tally.refused++;
      expect(this.manager.has(id)).toBe(false);
      return;
    }
    const { cachedTokens } = admission;
    expect(cachedTokens).toBeLessThan(tokenIds.length);
    const sequence: ModelSequence = {
      salt,
      tokenIds,
      histories: [],
      written: cachedTokens,
      committed: cachedTokens,
      passed: cachedTokens,
      deviceTables: this.#groups.map(() => []),
    };
    this.#sequences.set(id, sequence);
    this.#upload(sequence, admission.appends);
    this.tally.admitted++;
    this.tally.hitTokens += cachedTokens;
  }

  /** A chunk or a token is computed, a slot beyond may be dirtied by a discarded token, and some of it is committed. */
  #step(id: number): void {
    const random = this.#random;
    const sequence = this.#sequences.get(id)!;
    if (sequence.written > sequenceTokensLimit) {
      this.#release(id);
      return;
    }
    const end = sequence.written + 1 + random.below(random.pick([1, 1, 12]));
    while (sequence.tokenIds.length < end) sequence.tokenIds.push(random.below(3));
    const discarded = random.below(4) === 0 ? 1 : 0;
    const extension = this.manager.extend(id, end + discarded);
    if (extension === undefined) {
      this.tally.preempted++;
      if (random.below(2) === 0 && this.#swapOut(id)) return;
      this.#release(id);
      if (random.below(2) === 0) this.#admitTokens(sequence.tokenIds.slice(0, end), sequence.salt);
      return;
    }
    this.#upload(sequence, extension.appends);
    this.#copy(extension.copies);
    for (let position = sequence.written; position < end + discarded; position++) {
      const content = position < end ? this.#historyOf(sequence, position) : discardedToken;
      for (const g of this.#groups.keys()) this.#memory[g]![this.#slot(sequence, g, position)] = content;
    }
    sequence.written = end;
    if (random.below(3) > 0) {
      sequence.committed += random.below(end - sequence.committed + 1);
      this.manager.commit(id, Int32Array.from(sequence.tokenIds.slice(0, sequence.committed)));
    }
  }

  #fork(id: number): void {
    const parent = this.#sequences.get(id)!;
    const shared = parent.written - this.#random.below(Math.min(parent.written + 1, 7));
    if (shared < parent.passed) return;
    const childId = this.#nextId++;
    const fork = this.manager.fork(id, childId, shared);
    const child: ModelSequence = {
      ...parent,
      tokenIds: parent.tokenIds.slice(0, shared),
      histories: parent.histories.slice(0, shared),
      written: shared,
      committed: Math.min(parent.committed, shared),
      deviceTables: this.#groups.map(() => []),
    };
    this.#upload(child, fork.appends);
    this.#sequences.set(childId, child);
    this.tally.forks++;
  }

  #releaseWindow(id: number): void {
    const sequence = this.#sequences.get(id)!;
    const position = sequence.passed + this.#random.below(sequence.written - sequence.passed + 1);
    this.manager.releaseWindow(id, position);
    sequence.passed = position;
  }

  #release(id: number): void {
    this.manager.release(id);
    this.#sequences.delete(id);
    this.#swapped.delete(id);
  }

  #swapOut(id: number): boolean {
    const sequence = this.#sequences.get(id)!;
    const swaps = this.manager.swapOut(id, sequence.written);
    if (swaps === undefined) {
      expect(this.manager.pageTable(id)).toBeDefined();
      return false;
    }
    for (const { group, page, hostPage } of swaps) this.#move(group, this.#memory, page, this.#hostMemory, hostPage);
    // What the next token does not read stays behind.
    sequence.passed = sequence.written;
    this.#sequences.delete(id);
    this.#swapped.set(id, sequence);
    this.tally.swapped++;
    return true;
  }

  /** The sequence that waits longest comes back, leaves, or stays because there is no room. */
  #swapIn(): void {
    const [id, sequence] = [...this.#swapped][0] ?? [];
    if (id === undefined || sequence === undefined) return;
    if (this.#random.below(5) === 0) {
      this.#release(id);
      return;
    }
    const resumed = this.manager.swapIn(id, sequence.written + 1);
    if (resumed === undefined) {
      expect(this.manager.has(id)).toBe(true);
      return;
    }
    for (const { group, page, hostPage } of resumed.swaps) {
      this.#move(group, this.#hostMemory, hostPage, this.#memory, page);
    }
    for (const table of sequence.deviceTables) table.length = 0;
    this.#swapped.delete(id);
    this.#sequences.set(id, sequence);
    this.#upload(sequence, resumed.appends);
    this.tally.resumed++;
    this.tally.resumedHits += resumed.appends.length - resumed.swaps.length;
  }

  #move(group: number, from: number[][], fromPage: number, to: number[][], toPage: number): void {
    const { pageTokens } = this.#groups[group]!;
    for (let slot = 0; slot < pageTokens; slot++) {
      to[group]![toPage * pageTokens + slot] = from[group]![fromPage * pageTokens + slot]!;
    }
  }

  #upload(sequence: ModelSequence, appends: readonly PageAppend[]): void {
    for (const { group, index, page } of appends) sequence.deviceTables[group]![index] = page;
  }

  #copy(copies: readonly PageCopy[]): void {
    for (const { group, from, to } of copies) {
      this.#move(group, this.#memory, from, this.#memory, to);
      this.tally.copies++;
    }
  }

  #slot(sequence: ModelSequence, group: number, position: number): number {
    const { pageTokens } = this.#groups[group]!;
    const page = sequence.deviceTables[group]![Math.floor(position / pageTokens)]!;
    if (!(page > 0)) expect.fail(`position ${position} of group ${group} has page ${page}`);
    return page * pageTokens + (position % pageTokens);
  }

  #check(): void {
    this.manager.checkInvariant();
    const { pages, hostPages, swappedCount } = this.manager.stats();
    expect(pages.free + pages.cached + pages.used).toBe(pages.total);
    expect(hostPages.free + hostPages.used).toBe(hostPages.total);
    expect(swappedCount).toBe(this.#swapped.size);
    for (const [id, sequence] of this.#sequences) {
      for (const [g, { window }] of this.#groups.entries()) {
        for (const [index, page] of this.manager.pageTable(id, g).entries()) {
          const uploaded = sequence.deviceTables[g]![index];
          if (page !== nullPage && page !== uploaded) {
            expect.fail(
              `sequence ${id}, group ${g}: entry ${index} is page ${page} here and ${uploaded} on the device`,
            );
          }
        }
        const oldest = window === undefined ? 0 : Math.max(0, sequence.passed - window + 1);
        for (let position = oldest; position < sequence.written; position++) {
          const content = this.#memory[g]![this.#slot(sequence, g, position)];
          if (content !== this.#historyOf(sequence, position)) {
            expect.fail(`sequence ${id}, group ${g}, position ${position} holds the history ${content}`);
          }
        }
      }
    }
  }

  /** A number that two positions share exactly when salt and all tokens up to them are equal. */
  #historyOf({ salt, tokenIds, histories }: ModelSequence, position: number): number {
    while (histories.length <= position) {
      const name = `${histories.at(-1) ?? salt},${tokenIds[histories.length]}`;
      const history = this.#histories.get(name) ?? this.#histories.size;
      this.#histories.set(name, history);
      histories.push(history);
    }
    return histories[position]!;
  }
}
