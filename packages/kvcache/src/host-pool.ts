import { KvantError } from "@kvant/core";

declare const hostPageIdBrand: unique symbol;

/** The number of one page of host memory of one layer group, `0 <= id < pageCount`. Only a `HostPool` makes them. */
export type HostPageId = number & { readonly [hostPageIdBrand]: true };

/** `free + used = total`. */
export interface HostPageCounts {
  readonly free: number;
  readonly used: number;
  readonly total: number;
}

/** Hands out the numbers of host pages. A host page has one owner, and its content is of no use once it has come back. */
export class HostPool {
  readonly pageCount: number;
  readonly #free: HostPageId[]; // the next one last

  /** @throws INVALID_ARGUMENT when `pageCount` is not an integer from 0 up. */
  constructor(pageCount: number) {
    if (!Number.isInteger(pageCount) || pageCount < 0) {
      throw new KvantError("INVALID_ARGUMENT", `hostPageCount is ${pageCount}; it must be an integer from 0 up`);
    }
    this.pageCount = pageCount;
    this.#free = Array.from({ length: pageCount }, (_, i) => (pageCount - 1 - i) as HostPageId);
  }

  get available(): number {
    return this.#free.length;
  }

  counts(): HostPageCounts {
    const free = this.#free.length;
    return { free, used: this.pageCount - free, total: this.pageCount };
  }

  /** `count` pages, or undefined (and nothing changed) when fewer are free. Neighbours where possible: they move in one copy. */
  take(count: number): HostPageId[] | undefined {
    if (count > this.#free.length) return undefined;
    return this.#free.splice(this.#free.length - count).reverse();
  }

  release(pages: readonly HostPageId[]): void {
    for (let i = pages.length - 1; i >= 0; i--) this.#free.push(pages[i]!);
  }

  /** @throws KV_INVARIANT unless `used` and the free pages are all pages, each once. */
  checkInvariant(used: Iterable<HostPageId>): void {
    const seen = new Uint8Array(this.pageCount);
    for (const pages of [this.#free, used]) {
      for (const page of pages) {
        if (seen[page] !== 0) {
          throw new KvantError("KV_INVARIANT", `host page ${page} is outside 0..${this.pageCount - 1} or held twice`);
        }
        seen[page] = 1;
      }
    }
    const lost = seen.indexOf(0);
    if (lost !== -1) throw new KvantError("KV_INVARIANT", `host page ${lost} is neither free nor used`);
  }
}
