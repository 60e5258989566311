import { KvantError } from "@kvant/core";
import { nullPage, type PageId } from "./page-id.ts";
import { PageQueue, pageLinks } from "./page-queue.ts";

/** How many pages are in each state. `free + cached + used = total`; page 0 is in none. */
export interface PageCounts {
  /** Idle pages whose content nobody can ask for again. */
  readonly free: number;
  /** Idle pages whose content is kept for a later prefix hit; taken when no free page is left. */
  readonly cached: number;
  /** Pages that at least one table references. */
  readonly used: number;
  readonly total: number;
}

/**
 * Hands out page numbers and counts references. Knows nothing of tokens, keys or memory.
 *
 * A page that loses its last reference becomes cached when it was marked with `keep`, else free. `take` prefers free pages,
 * then evicts cached ones, least recently released first. Both queues are filled tail of a chain first: a prefix is worth
 * more than its continuation, because every continuation needs it.
 */
export class PagePool {
  readonly pageCount: number;
  readonly #references: Int32Array; // [pageCount]
  readonly #kept: Uint8Array; // [pageCount] 1 while the content may be asked for again
  readonly #free: PageQueue;
  readonly #cached: PageQueue;
  readonly #onEvict: (page: PageId) => void;
  #evictionCount = 0;

  /**
   * @param pageCount pages including the reserved page 0, so `pageCount - 1` can be taken.
   * @param onEvict told of every cached page that `take` is about to hand out with new content.
   * @throws INVALID_ARGUMENT when `pageCount` is not an integer of at least 2.
   */
  constructor(pageCount: number, onEvict: (page: PageId) => void = () => {}) {
    if (!Number.isInteger(pageCount) || pageCount < 2) {
      throw new KvantError(
        "INVALID_ARGUMENT",
        `pageCount is ${pageCount}; page 0 is reserved, so at least 2 are needed`,
      );
    }
    this.pageCount = pageCount;
    this.#references = new Int32Array(pageCount);
    this.#kept = new Uint8Array(pageCount);
    const links = pageLinks(pageCount);
    this.#free = new PageQueue(links);
    this.#cached = new PageQueue(links);
    this.#onEvict = onEvict;
    for (let page = 1; page < pageCount; page++) this.#free.push(page as PageId);
  }

  /** Pages that `take` can hand out now. */
  get available(): number {
    return this.#free.count + this.#cached.count;
  }

  /** Cached pages that `take` has handed out with new content so far. */
  get evictionCount(): number {
    return this.#evictionCount;
  }

  counts(): PageCounts {
    const total = this.pageCount - 1;
    const free = this.#free.count;
    const cached = this.#cached.count;
    return { free, cached, used: total - free - cached, total };
  }

  /** `count` pages with one reference each, or undefined (and nothing changed) when fewer are idle. */
  take(count: number): PageId[] | undefined {
    if (count > this.available) return undefined;
    const pages: PageId[] = [];
    for (let i = 0; i < count; i++) {
      let page = this.#free.shift();
      if (page === nullPage) {
        page = this.#cached.shift();
        this.#kept[page] = 0;
        this.#evictionCount++;
        this.#onEvict(page);
      }
      this.#references[page] = 1;
      pages.push(page);
    }
    return pages;
  }

  /** One more reference to a used or cached page. */
  retain(page: PageId): void {
    this.#check(page);
    if (this.#references[page] === 0) {
      if (this.#kept[page] === 0) throw new KvantError("KV_INVARIANT", `page ${page} is free and cannot be retained`);
      this.#cached.remove(page);
    }
    this.#references[page]!++;
  }

  /** One reference less to each page of a chain, given in chain order; null pages are passed over. */
  release(chain: readonly PageId[]): void {
    for (let i = chain.length - 1; i >= 0; i--) {
      const page = chain[i]!;
      if (page === nullPage) continue;
      this.#check(page);
      if (this.#references[page] === 0) throw new KvantError("KV_INVARIANT", `page ${page} is released twice`);
      this.#references[page]!--;
      if (this.#references[page] === 0) (this.#kept[page] === 1 ? this.#cached : this.#free).push(page);
    }
  }

  /** Marks a used page as worth keeping: it becomes cached, not free, when its last reference goes. */
  keep(page: PageId): void {
    this.#check(page);
    if (this.#references[page] === 0) throw new KvantError("KV_INVARIANT", `page ${page} is idle and cannot be kept`);
    this.#kept[page] = 1;
  }

  isKept(page: PageId): boolean {
    return this.#kept[page] === 1;
  }

  referenceCount(page: PageId): number {
    return this.#references[page] ?? 0;
  }

  /** The idle pages in the order in which `take` hands them out. */
  evictionOrder(): PageId[] {
    return [...this.#free, ...this.#cached];
  }

  /** @throws KV_INVARIANT when a page is in no state, in two states, or in a queue that does not fit its flags. */
  checkInvariant(): void {
    const idle = new Set<PageId>();
    const visit = (queue: PageQueue, name: string, kept: number): void => {
      let count = 0;
      for (const page of queue) {
        if (this.#references[page] !== 0) fail(`${name} page ${page} has ${this.#references[page]} references`);
        if (this.#kept[page] !== kept) fail(`${name} page ${page} has kept = ${this.#kept[page]}`);
        if (idle.has(page)) fail(`page ${page} is queued twice`);
        idle.add(page);
        count++;
      }
      if (count !== queue.count) fail(`the ${name} queue holds ${count} pages and counts ${queue.count}`);
    };
    visit(this.#free, "free", 0);
    visit(this.#cached, "cached", 1);
    let used = 0;
    for (let page = 1; page < this.pageCount; page++) if (this.#references[page]! > 0) used++;
    const { free, cached, total } = this.counts();
    if (free + cached + used !== total) {
      fail(`free ${free} + cached ${cached} + used ${used} is not the total ${total}`);
    }
  }

  #check(page: PageId): void {
    if (!(page > 0 && page < this.pageCount)) {
      throw new KvantError("KV_INVARIANT", `page ${page} is outside 1..${this.pageCount - 1}`);
    }
  }
}

function fail(sentence: string): never {
  throw new KvantError("KV_INVARIANT", sentence);
}
