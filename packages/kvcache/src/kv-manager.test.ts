import { expect, test } from "vitest";
import { KvManager } from "./kv-manager.ts";
import type { SequenceId } from "./sequence-table.ts";

/** `count` token ids from `first` on. */
function run(first: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => first + i);
}

/** Admits, extends and commits a whole prompt, as one prefill step would. */
function prefill(manager: KvManager, id: SequenceId, tokenIds: Int32Array, salt?: string): number {
  const admission = manager.admit(id, tokenIds, salt === undefined ? {} : { salt })!;
  manager.extend(id, tokenIds.length);
  manager.commit(id, tokenIds);
  manager.checkInvariant();
  return admission.cachedTokens;
}

function small(pageCount: number, window?: number): KvManager {
  return new KvManager({ groups: [{ pageCount, pageTokens: 4, ...(window === undefined ? {} : { window }) }] });
}

test("pages are handed out in order, one per pageTokens tokens", () => {
  const manager = small(10);
  expect(manager.admit("a", run(0, 6))).toEqual({ cachedTokens: 0, appends: [] });
  expect(manager.extend("a", 6)).toEqual({
    appends: [
      { group: 0, index: 0, page: 1 },
      { group: 0, index: 1, page: 2 },
    ],
    copies: [],
  });
  expect(manager.extend("a", 8)).toEqual({ appends: [], copies: [] });
  expect(manager.extend("a", 9)!.appends).toEqual([{ group: 0, index: 2, page: 3 }]);
  expect(manager.pageTable("a")).toEqual([1, 2, 3]);
  expect(manager.stats().pages).toEqual({ free: 6, cached: 0, used: 3, total: 9 });
});

test("a second sequence shares the full pages of a common prefix", () => {
  const manager = small(10);
  prefill(manager, "a", run(0, 10));
  const tokens = Int32Array.from([...run(0, 10), 77]);
  expect(manager.admit("b", tokens)).toEqual({
    cachedTokens: 8,
    appends: [
      { group: 0, index: 0, page: 1 },
      { group: 0, index: 1, page: 2 },
    ],
  });
  manager.extend("b", 11);
  expect(manager.pageTable("b")).toEqual([1, 2, 4]);
  expect(manager.stats()).toMatchObject({ prefixQueryTokens: 21, prefixHitTokens: 8, sequenceCount: 2 });
  manager.checkInvariant();
});

test("the last prompt token is always left to compute", () => {
  const manager = small(10);
  prefill(manager, "a", run(0, 8));
  expect(manager.admit("b", run(0, 8))!.cachedTokens).toBe(4);
  expect(manager.admit("c", run(0, 9))!.cachedTokens).toBe(8);
});

test("pages are found only after their tokens are committed, and only full ones", () => {
  const manager = small(10);
  manager.admit("a", run(0, 9));
  manager.extend("a", 9);
  expect(manager.admit("b", run(0, 9))!.cachedTokens).toBe(0);
  manager.release("b");
  manager.commit("a", run(0, 7));
  expect(manager.admit("c", run(0, 9))!.cachedTokens).toBe(4);
});

test("different salts never share a page", () => {
  const manager = small(20);
  expect(prefill(manager, "a", run(0, 9), "red")).toBe(0);
  expect(prefill(manager, "b", run(0, 9), "blue")).toBe(0);
  expect(prefill(manager, "c", run(0, 9))).toBe(0);
  expect(prefill(manager, "d", run(0, 9), "red")).toBe(8);
});

test("a page with the content of an indexed one is not shared and becomes free at its release", () => {
  const manager = small(10);
  manager.admit("a", run(0, 5));
  manager.admit("b", run(0, 5));
  manager.extend("a", 5); // 1, 2
  manager.extend("b", 5); // 3, 4
  manager.commit("a", run(0, 5));
  manager.commit("b", run(0, 5));
  manager.release("b");
  expect(manager.stats().pages).toMatchObject({ cached: 0, used: 2 });
  manager.release("a");
  expect(manager.stats().pages).toMatchObject({ cached: 1, used: 0 });
  manager.checkInvariant();
});

test("released pages stay cached, are evicted tail first, and the rest of the prefix still hits", () => {
  const manager = small(5);
  prefill(manager, "a", run(0, 13)); // 1, 2, 3 full, 4 partial
  manager.release("a");
  expect(manager.stats().pages).toEqual({ free: 1, cached: 3, used: 0, total: 4 });
  prefill(manager, "b", run(100, 8)); // the free page 4, then the tail of the chain
  expect(manager.pageTable("b")).toEqual([4, 3]);
  expect(manager.stats().evictionCount).toBe(1);
  manager.release("b");
  expect(manager.admit("c", run(0, 13))!.cachedTokens).toBe(8);
  manager.checkInvariant();
});

test("a preempted sequence that comes back finds its own pages", () => {
  const manager = small(10);
  const tokens = run(0, 11);
  prefill(manager, "a", run(0, 9));
  manager.extend("a", 11);
  manager.commit("a", tokens);
  manager.release("a");
  expect(manager.admit("a", tokens)!.cachedTokens).toBe(8);
  manager.extend("a", 11);
  expect(manager.pageTable("a").slice(0, 2)).toEqual([1, 2]);
  manager.checkInvariant();
});

test("extend without room answers undefined and changes nothing", () => {
  const manager = small(4);
  prefill(manager, "a", run(0, 8));
  const before = [...manager.pageTable("a")];
  expect(manager.extend("a", 17)).toBeUndefined();
  expect(manager.pageTable("a")).toEqual(before);
  expect(manager.extend("a", 12)!.appends).toEqual([{ group: 0, index: 2, page: 3 }]);
  manager.checkInvariant();
});

test("admission leaves room for what earlier admissions were promised", () => {
  const manager = small(6); // 5 pages
  expect(manager.admit("a", run(0, 12))).toBeDefined(); // promised 3, taken 0
  expect(manager.admit("b", run(100, 12))).toBeUndefined();
  expect(manager.admit("b", run(100, 4), { reserve: 12 })).toBeUndefined();
  expect(manager.admit("b", run(100, 8))).toBeDefined();
  expect(manager.extend("a", 12)).toBeDefined();
  expect(manager.extend("b", 8)).toBeDefined();
});

test("idle pages that a hit would use are not counted as room twice", () => {
  const manager = small(5); // 4 pages
  prefill(manager, "a", run(0, 9));
  manager.release("a"); // pages 1 and 2 cached, 2 free
  expect(manager.admit("b", run(0, 9), { reserve: 16 })!.cachedTokens).toBe(8);
  manager.release("b");
  prefill(manager, "c", run(50, 4));
  expect(manager.admit("d", run(0, 9), { reserve: 16 })).toBeUndefined();
  expect(manager.admit("d", run(0, 9), { reserve: 12 })!.cachedTokens).toBe(8);
  manager.checkInvariant();
});

test("a refused admission that is asked again answers as if asked for the first time", () => {
  const manager = small(6);
  prefill(manager, "a", run(0, 9));
  expect(manager.admit("b", run(0, 9), { reserve: 20 })).toBeUndefined();
  expect(manager.admit("b", run(0, 10), { reserve: 20 })).toBeUndefined();
  expect(manager.admit("b", run(0, 10), { reserve: 20, salt: "x" })).toBeUndefined();
  manager.release("a");
  expect(manager.admit("b", run(0, 10), { reserve: 20 })!.cachedTokens).toBe(8);
});

test("a sequence larger than the whole cache is an error, not a wait", () => {
  const manager = small(4);
  expect(() => manager.admit("a", run(0, 4), { reserve: 13 })).toThrow(
    expect.objectContaining({ code: "KV_TOO_SMALL", message: expect.stringContaining("13 tokens need 4 pages") }),
  );
});

test("a fork shares every page and copies the partly filled one when it is written", () => {
  const manager = small(10);
  prefill(manager, "parent", run(0, 6)); // 1, 2
  const fork = manager.fork("parent", "child");
  expect(fork).toEqual({
    tokenCount: 6,
    appends: [
      { group: 0, index: 0, page: 1 },
      { group: 0, index: 1, page: 2 },
    ],
  });
  expect(manager.stats().pages.used).toBe(2);
  expect(manager.extend("parent", 7)).toEqual({
    appends: [{ group: 0, index: 1, page: 3 }],
    copies: [{ group: 0, from: 2, to: 3 }],
  });
  expect(manager.extend("child", 7)).toEqual({ appends: [], copies: [] }); // now its only owner
  expect(manager.pageTable("parent")).toEqual([1, 3]);
  expect(manager.pageTable("child")).toEqual([1, 2]);
  manager.checkInvariant();
});

test("a parent that goes on in its page after a fork copies it", () => {
  const manager = small(10);
  prefill(manager, "parent", run(0, 6)); // 1, 2
  expect(manager.extend("parent", 7)).toEqual({ appends: [], copies: [] });
  manager.fork("parent", "child", 6);
  expect(manager.extend("parent", 8)!.copies).toEqual([{ group: 0, from: 2, to: 3 }]);
  expect(manager.extend("child", 7)).toEqual({ appends: [], copies: [] });
  manager.checkInvariant();
});

test("a fork at a page boundary copies nothing", () => {
  const manager = small(10);
  prefill(manager, "parent", run(0, 8));
  manager.fork("parent", "child");
  expect(manager.extend("parent", 9)!.copies).toEqual([]);
  expect(manager.extend("child", 9)!.copies).toEqual([]);
  expect(manager.stats().pages.used).toBe(4);
});

test("a fork behind its parent copies the page its parent has filled, also after the parent is gone", () => {
  const manager = small(10);
  prefill(manager, "parent", run(0, 8)); // 1, 2
  manager.fork("parent", "child", 6);
  manager.release("parent");
  expect(manager.extend("child", 7)!.copies).toEqual([{ group: 0, from: 2, to: 3 }]);
  manager.commit("child", Int32Array.of(0, 1, 2, 3, 4, 5, 99));
  expect(manager.admit("late", run(0, 9))!.cachedTokens).toBe(8); // page 2 is untouched
  manager.checkInvariant();
});

test("a forked sequence commits its own continuation", () => {
  const manager = small(20);
  prefill(manager, "parent", run(0, 6));
  manager.fork("parent", "child");
  const parentIds = Int32Array.from([...run(0, 6), 50, 51, 52]);
  const childIds = Int32Array.from([...run(0, 6), 60, 61, 62]);
  for (const [id, ids] of [["parent", parentIds] as const, ["child", childIds] as const]) {
    manager.extend(id, 9);
    manager.commit(id, ids);
  }
  manager.checkInvariant();
  expect(manager.admit("p", parentIds)!.appends[1]!.page).toBe(manager.pageTable("parent")[1]);
  expect(manager.admit("c", childIds)!.appends[1]!.page).toBe(manager.pageTable("child")[1]);
});

test("a sliding window gives up the pages that no later token reads", () => {
  const manager = small(10, 6);
  prefill(manager, "a", run(0, 16)); // 1..4
  manager.releaseWindow("a", 9); // reads 4..9
  expect(manager.pageTable("a")).toEqual([0, 2, 3, 4]);
  manager.releaseWindow("a", 12); // reads 7..12
  expect(manager.pageTable("a")).toEqual([0, 2, 3, 4]);
  manager.releaseWindow("a", 13); // reads 8..13
  expect(manager.pageTable("a")).toEqual([0, 0, 3, 4]);
  expect(manager.stats().pages).toEqual({ free: 5, cached: 2, used: 2, total: 9 });
  manager.checkInvariant();
});

test("a windowed group hits with the pages inside the window alone", () => {
  const manager = small(10, 6);
  prefill(manager, "a", run(0, 16)); // 1..4
  manager.releaseWindow("a", 16); // keeps 11..16: pages 3 and 4
  manager.release("a");
  prefill(manager, "other", run(100, 28)); // five free pages, then the two that the window gave up first
  manager.release("other");
  const admission = manager.admit("b", run(0, 17))!;
  expect(admission).toEqual({
    cachedTokens: 16,
    appends: [
      { group: 0, index: 2, page: 3 },
      { group: 0, index: 3, page: 4 },
    ],
  });
  expect(manager.pageTable("b")).toEqual([0, 0, 3, 4]);
  manager.checkInvariant();
});

test("a windowed group with a hole falls back to a continuation point whose window is whole", () => {
  const manager = small(8, 4);
  prefill(manager, "a", run(0, 12)); // 1, 2, 3
  manager.release("a"); // evicted in the order 3, 2, 1 after the free ones 4..7
  prefill(manager, "b", run(100, 20)); // takes 4..7 and 3
  manager.release("b");
  expect(manager.admit("c", run(0, 13))!.cachedTokens).toBe(8);
  expect(manager.pageTable("c")).toEqual([0, 2]); // position 8 reads 5..8
  manager.checkInvariant();
});

test("a hit must satisfy every layer group", () => {
  const manager = new KvManager({
    groups: [
      { pageCount: 20, pageTokens: 4 },
      { pageCount: 6, pageTokens: 8, window: 8 },
    ],
  });
  prefill(manager, "a", run(0, 33));
  expect(manager.pageTable("a", 0)).toHaveLength(9);
  expect(manager.pageTable("a", 1)).toEqual([1, 2, 3, 4, 5]);
  manager.release("a");
  // Group 1 has 5 pages and loses its tail: 8 tokens each, the free page 5 first, then 4.
  prefill(manager, "b", run(100, 16));
  manager.release("b");
  const admission = manager.admit("c", run(0, 33))!;
  expect(admission.cachedTokens).toBe(24);
  expect(admission.appends.filter(({ group }) => group === 0)).toHaveLength(6);
  expect(manager.pageTable("c", 1)).toEqual([0, 0, 3]);
  manager.checkInvariant();
});

test("a windowed sequence needs only its window's pages when the run-ahead is known", () => {
  const groups = [{ pageCount: 6, pageTokens: 4, window: 8 }];
  const tokens = run(0, 4);
  expect(() => new KvManager({ groups }).admit("a", tokens, { reserve: 100 })).toThrow(/100 tokens need 25 pages/);
  const manager = new KvManager({ groups, aheadTokens: 4 });
  expect(manager.admit("a", tokens, { reserve: 100 })).toBeDefined();
  for (let position = 0; position < 100; position += 4) {
    manager.releaseWindow("a", position);
    expect(manager.extend("a", position + 4)).toBeDefined();
    expect(manager.stats().pages.used).toBeLessThanOrEqual(4);
  }
});

test("without prefix reuse nothing is indexed, and forks still share", () => {
  const manager = new KvManager({ groups: [{ pageCount: 10, pageTokens: 4 }], prefixReuse: false });
  prefill(manager, "a", run(0, 9));
  expect(manager.admit("b", run(0, 9))!.cachedTokens).toBe(0);
  manager.fork("a", "c");
  expect(manager.stats().pages.used).toBe(3);
  for (const id of ["a", "b", "c"]) manager.release(id);
  expect(manager.stats().pages).toEqual({ free: 9, cached: 0, used: 0, total: 9 });
});

test("misuse names the sequence and the numbers", () => {
  const manager = small(10, 4);
  const invalid = (sentence: RegExp) =>
    expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(sentence) });
  prefill(manager, "a", run(0, 8));
  expect(() => manager.admit("a", run(0, 1))).toThrow(invalid(/sequence a is already/));
  expect(() => manager.admit("b", run(0, 0))).toThrow(invalid(/sequence b has no tokens/));
  expect(() => manager.admit("b", run(0, 5), { reserve: 4 })).toThrow(invalid(/reserve is 4/));
  expect(() => manager.extend("b", 1)).toThrow(invalid(/sequence b is not in the cache/));
  expect(() => manager.commit("a", run(0, 9))).toThrow(
    invalid(/9 tokens committed for sequence a; it can commit 8\.\.8/),
  );
  expect(() => manager.commit("a", run(0, 7))).toThrow(invalid(/can commit 8\.\.8/));
  expect(() => manager.fork("a", "b", 9)).toThrow(invalid(/has pages for 8/));
  expect(() => manager.releaseWindow("a", 9)).toThrow(invalid(/beyond its 8 tokens/));
  manager.releaseWindow("a", 8);
  expect(() => manager.fork("a", "b", 4)).toThrow(invalid(/window has passed the first 4/));
  expect(() => manager.pageTable("a", 1)).toThrow(invalid(/group 1 is not one of the 1/));
  expect(() => new KvManager({ groups: [] })).toThrow(invalid(/at least one layer group/));
  expect(() => small(10, 0)).toThrow(invalid(/window is 0/));
});
