import { describe, expect, test } from "vitest";
import { KvManager } from "./kv-manager.ts";
import type { SequenceId } from "./sequence-table.ts";

/** `count` token ids from `first` on. */
function run(first: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => first + i);
}

/** Admits, extends and commits a whole prompt, as one prefill step would. */
function prefill(manager: KvManager, id: SequenceId, tokenIds: Int32Array): void {
  manager.admit(id, tokenIds);
  manager.extend(id, tokenIds.length);
  manager.commit(id, tokenIds);
}

function small(pageCount: number, hostPageCount: number, changes: { window?: number; prefixReuse?: boolean } = {}) {
  const { window, prefixReuse = true } = changes;
  const group = { pageCount, hostPageCount, pageTokens: 4, ...(window === undefined ? {} : { window }) };
  return new KvManager({ groups: [group], prefixReuse });
}

describe("swapping out", () => {
  test("moves the pages of the computed tokens and frees all", () => {
    const manager = small(10, 6);
    prefill(manager, "a", run(0, 10)); // pages 1, 2, 3
    manager.extend("a", 14); // page 4, of which nothing is computed yet
    expect(manager.swapOut("a", 10)).toEqual([
      { group: 0, page: 1, hostPage: 0 },
      { group: 0, page: 2, hostPage: 1 },
      { group: 0, page: 3, hostPage: 2 },
    ]);
    expect(manager.stats()).toMatchObject({
      pages: { free: 7, cached: 2, used: 0 },
      hostPages: { free: 3, used: 3, total: 6 },
      sequenceCount: 0,
      swappedCount: 1,
    });
    manager.checkInvariant();
  });

  test("without enough host pages changes nothing", () => {
    const manager = small(10, 2);
    prefill(manager, "a", run(0, 10));
    expect(manager.swapOut("a", 10)).toBeUndefined();
    expect(manager.pageTable("a")).toEqual([1, 2, 3]);
    expect(manager.stats().hostPages).toEqual({ free: 2, used: 0, total: 2 });
  });

  test("copies shared pages too: a swapped sequence holds no page on the device", () => {
    const manager = small(10, 6);
    prefill(manager, "a", run(0, 6));
    manager.fork("a", "b", 6);
    expect(manager.swapOut("b", 6)!.map(({ page }) => page)).toEqual([1, 2]);
    manager.release("a");
    expect(manager.stats().pages).toMatchObject({ cached: 1, used: 0 });
    manager.checkInvariant();
  });

  test("leaves out what the window has passed", () => {
    const manager = small(10, 6, { window: 5 });
    prefill(manager, "a", run(0, 14)); // pages 1..4; position 14 reads from 10 on
    manager.releaseWindow("a", 14);
    expect(manager.swapOut("a", 14)!.map(({ page }) => page)).toEqual([3, 4]);
    manager.checkInvariant();
  });

  test("of tokens that are not computed, or fewer than are committed, is refused", () => {
    const manager = small(10, 6);
    prefill(manager, "a", run(0, 6));
    for (const tokenCount of [5, 7]) {
      expect(() => manager.swapOut("a", tokenCount)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });

  test("leaves nothing that can be extended, forked or admitted again", () => {
    const manager = small(10, 6);
    prefill(manager, "a", run(0, 6));
    manager.swapOut("a", 6);
    const refusal = expect.objectContaining({ code: "INVALID_ARGUMENT" });
    expect(() => manager.extend("a", 7)).toThrow(refusal);
    expect(() => manager.fork("a", "b")).toThrow(refusal);
    expect(() => manager.admit("a", run(0, 6))).toThrow(refusal);
    expect(() => manager.swapIn("b", 6)).toThrow(refusal);
  });
});

describe("swapping in", () => {
  test("takes new pages for what is gone from the device, and frees the host pages", () => {
    const manager = small(10, 6, { prefixReuse: false });
    prefill(manager, "a", run(0, 6)); // 1, 2
    manager.swapOut("a", 6);
    prefill(manager, "b", run(50, 9)); // the pages least recently freed
    expect(manager.swapIn("a", 7)).toEqual({
      appends: [
        { group: 0, index: 0, page: 6 },
        { group: 0, index: 1, page: 7 },
      ],
      swaps: [
        { group: 0, page: 6, hostPage: 0 },
        { group: 0, page: 7, hostPage: 1 },
      ],
    });
    expect(manager.pageTable("a")).toEqual([6, 7]);
    expect(manager.stats()).toMatchObject({ hostPages: { free: 6, used: 0 }, swappedCount: 0, sequenceCount: 2 });
    expect(manager.extend("a", 7)).toEqual({ appends: [], copies: [] });
    manager.checkInvariant();
  });

  test("shares pages that are still cached and moves the others", () => {
    const manager = small(6, 6);
    prefill(manager, "a", run(0, 14)); // 1, 2, 3 full and indexed, 4 partial
    manager.swapOut("a", 14);
    prefill(manager, "b", run(50, 9)); // the free pages 5 and 4, then the tail of a's chain
    expect(manager.pageTable("b")).toEqual([5, 4, 3]);
    manager.release("b"); // free: 3; cached: 1, 2 of a, 5, 4 of b
    expect(manager.swapIn("a", 15)).toEqual({
      appends: [1, 2, 3, 4].map((page, index) => ({ group: 0, index, page })),
      swaps: [
        { group: 0, page: 3, hostPage: 2 },
        { group: 0, page: 4, hostPage: 3 },
      ],
    });
    manager.checkInvariant();
  });

  test("indexes the pages it has moved with the next commit, not before", () => {
    const manager = small(4, 6);
    prefill(manager, "a", run(0, 9)); // 1, 2, 3
    manager.swapOut("a", 9);
    prefill(manager, "b", run(50, 12)); // evicts both pages of a
    manager.release("b");
    manager.swapIn("a", 9);
    manager.checkInvariant();
    expect(manager.stats().pages).toEqual({ free: 0, cached: 0, used: 3, total: 3 });
    manager.commit("a", run(0, 9));
    manager.release("a");
    expect(manager.admit("c", run(0, 9))!.cachedTokens).toBe(8);
    manager.checkInvariant();
  });

  test("waits until all its pages and the next one fit beside what is promised to others", () => {
    const manager = small(5, 6);
    prefill(manager, "a", run(0, 8)); // 1, 2
    manager.swapOut("a", 8);
    manager.admit("b", run(50, 8)); // two of the four pages are promised
    expect(manager.swapIn("a", 9)).toBeUndefined();
    expect(manager.stats().hostPages.used).toBe(2);
    manager.release("b");
    expect(manager.swapIn("a", 9)!.appends).toHaveLength(2);
    expect(manager.extend("a", 9)!.appends).toHaveLength(1);
    manager.checkInvariant();
  });

  test("with more tokens than an empty cache holds is refused", () => {
    const manager = small(3, 6);
    prefill(manager, "a", run(0, 8));
    manager.swapOut("a", 8);
    expect(() => manager.swapIn("a", 9)).toThrow(expect.objectContaining({ code: "KV_TOO_SMALL" }));
  });
});

test("a sequence that is released while it is swapped out gives its host pages back, neighbours in order", () => {
  const manager = small(10, 3);
  prefill(manager, "a", run(0, 12));
  manager.swapOut("a", 12);
  expect(manager.has("a")).toBe(true);
  manager.release("a");
  expect(manager.has("a")).toBe(false);
  expect(manager.stats()).toMatchObject({ hostPages: { free: 3, used: 0 }, swappedCount: 0 });
  prefill(manager, "b", run(50, 8));
  expect(manager.swapOut("b", 8)!.map(({ hostPage }) => hostPage)).toEqual([0, 1]);
  manager.checkInvariant();
});
