import { KvantError } from "@kvant/core";
import type { PageId } from "./page-id.ts";
import type { PageKey } from "./page-key.ts";

/**
 * Which page holds the content of a key. Only full pages are indexed, and a key has one page: a second page with the same
 * content stays outside and becomes free with its last reference.
 */
export class PrefixIndex {
  readonly #pages = new Map<PageKey, PageId>();
  readonly #keys: (PageKey | undefined)[]; // [pageCount]

  constructor(pageCount: number) {
    this.#keys = new Array<PageKey | undefined>(pageCount).fill(undefined);
  }

  get size(): number {
    return this.#pages.size;
  }

  find(key: PageKey): PageId | undefined {
    return this.#pages.get(key);
  }

  /** False when the key already has a page (this one or another). */
  add(key: PageKey, page: PageId): boolean {
    if (this.#pages.has(key)) return false;
    if (this.#keys[page] !== undefined) throw new KvantError("KV_INVARIANT", `page ${page} is indexed under two keys`);
    this.#pages.set(key, page);
    this.#keys[page] = key;
    return true;
  }

  remove(page: PageId): void {
    const key = this.#keys[page];
    if (key === undefined) throw new KvantError("KV_INVARIANT", `page ${page} is evicted but was never indexed`);
    this.#keys[page] = undefined;
    this.#pages.delete(key);
  }

  /** The indexed pages with their keys. */
  entries(): IterableIterator<[PageKey, PageId]> {
    return this.#pages.entries();
  }
}
