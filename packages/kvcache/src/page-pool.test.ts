import { expect, test } from "vitest";
import { nullPage, type PageId } from "./page-id.ts";
import { PagePool } from "./page-pool.ts";

test("a freed chain is evicted tail first", () => {
  const pool = new PagePool(5); // page 0 is reserved, so 1..4
  const chain = pool.take(3)!; // 1, 2, 3
  expect(chain).toEqual([1, 2, 3]);
  pool.release(chain);
  expect(pool.evictionOrder()).toEqual([4, 3, 2, 1]);
});

test("taking more pages than are idle answers undefined and changes nothing", () => {
  const pool = new PagePool(5);
  pool.take(2);
  expect(pool.take(3)).toBeUndefined();
  expect(pool.counts()).toEqual({ free: 2, cached: 0, used: 2, total: 4 });
  expect(pool.take(2)).toEqual([3, 4]);
  expect(pool.take(0)).toEqual([]);
});

test("kept pages become cached and are taken only after the free ones, oldest release first", () => {
  const evicted: PageId[] = [];
  const pool = new PagePool(6, (page) => evicted.push(page));
  const first = pool.take(2)!; // 1, 2
  const second = pool.take(2)!; // 3, 4
  for (const page of [...first, ...second]) pool.keep(page);
  pool.release(second);
  pool.release(first);
  expect(pool.counts()).toEqual({ free: 1, cached: 4, used: 0, total: 5 });
  expect(pool.evictionOrder()).toEqual([5, 4, 3, 2, 1]);
  expect(pool.take(3)).toEqual([5, 4, 3]);
  expect(evicted).toEqual([4, 3]);
  expect(pool.evictionCount).toBe(2);
  pool.checkInvariant();
});

test("an evicted page is no longer kept", () => {
  const pool = new PagePool(2);
  const [page] = pool.take(1)!;
  pool.keep(page!);
  pool.release([page!]);
  pool.take(1);
  pool.release([page!]);
  expect(pool.counts()).toEqual({ free: 1, cached: 0, used: 0, total: 1 });
});

test("a retained cached page leaves the middle of the queue and returns to its end", () => {
  const pool = new PagePool(4);
  const pages = pool.take(3)!;
  for (const page of pages) pool.keep(page);
  pool.release(pages); // 3, 2, 1
  pool.retain(pages[1]!);
  expect(pool.evictionOrder()).toEqual([3, 1]);
  pool.release([pages[1]!]);
  expect(pool.evictionOrder()).toEqual([3, 1, 2]);
  pool.checkInvariant();
});

test("a page with two references needs two releases", () => {
  const pool = new PagePool(2);
  const [page] = pool.take(1)!;
  pool.retain(page!);
  pool.release([page!]);
  expect(pool.referenceCount(page!)).toBe(1);
  expect(pool.available).toBe(0);
  pool.release([page!]);
  expect(pool.available).toBe(1);
});

test("null pages in a released chain are passed over", () => {
  const pool = new PagePool(3);
  const [page] = pool.take(1)!;
  pool.release([nullPage, page!, nullPage]);
  expect(pool.counts().used).toBe(0);
});

test("a double release, a retained free page and a foreign page are refused", () => {
  const pool = new PagePool(3);
  const [page] = pool.take(1)!;
  pool.release([page!]);
  expect(() => pool.release([page!])).toThrow(expect.objectContaining({ code: "KV_INVARIANT" }));
  expect(() => pool.retain(page!)).toThrow(/page 1 is free/);
  expect(() => pool.keep(page!)).toThrow(/page 1 is idle/);
  expect(() => pool.retain(7 as PageId)).toThrow(/outside 1\.\.2/);
  expect(() => pool.retain(nullPage)).toThrow(/outside 1\.\.2/);
});

test("a pool without a page to hand out is refused", () => {
  expect(() => new PagePool(1)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  expect(() => new PagePool(2.5)).toThrow(/pageCount is 2\.5/);
});
