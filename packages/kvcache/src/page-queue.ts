import { nullPage, type PageId } from "./page-id.ts";

/**
 * Links shared by the queues of one pool. A page is in at most one queue at a time, so one pair of arrays serves all.
 * Entry 0 is unused: page 0 ends every queue.
 */
export interface PageLinks {
  readonly next: Int32Array; // [pageCount]
  readonly previous: Int32Array; // [pageCount]
}

export function pageLinks(pageCount: number): PageLinks {
  return { next: new Int32Array(pageCount), previous: new Int32Array(pageCount) };
}

/**
 * A first-in first-out queue of pages from which any page can be removed in constant time.
 *
 * Intrusive over two Int32Arrays: a prefix hit takes a page out of the middle, which in an array would cost time linear in
 * the number of idle pages.
 */
export class PageQueue {
  readonly #links: PageLinks;
  #first = 0;
  #last = 0;
  #count = 0;

  constructor(links: PageLinks) {
    this.#links = links;
  }

  get count(): number {
    return this.#count;
  }

  push(page: PageId): void {
    const { next, previous } = this.#links;
    next[page] = 0;
    previous[page] = this.#last;
    if (this.#last === 0) this.#first = page;
    else next[this.#last] = page;
    this.#last = page;
    this.#count++;
  }

  /** The oldest page, removed; the null page when the queue is empty. */
  shift(): PageId {
    const page = this.#first as PageId;
    if (page !== nullPage) this.remove(page);
    return page;
  }

  /** The page must be in this queue; the pool's state byte says in which queue a page is. */
  remove(page: PageId): void {
    const { next, previous } = this.#links;
    const after = next[page]!;
    const before = previous[page]!;
    if (before === 0) this.#first = after;
    else next[before] = after;
    if (after === 0) this.#last = before;
    else previous[after] = before;
    this.#count--;
  }

  *[Symbol.iterator](): Generator<PageId> {
    for (let page = this.#first; page !== 0; page = this.#links.next[page]!) yield page as PageId;
  }
}
