import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { KeyChain, pageKey, rootKey } from "./page-key.ts";

const ids = Int32Array.of(5, 6, 7, 8, 9, 10, 11, 12);

test("a key is the SHA-256 of its parent's key and its token ids", () => {
  const root = createHash("sha256").update("kvant page chain\0tenant").digest();
  const expected = createHash("sha256").update(root).update(ids.subarray(0, 4)).digest("binary");
  expect(pageKey(rootKey("tenant"), ids.subarray(0, 4))).toBe(expected);
});

test("equal pages after different parents, or under different salts, have different keys", () => {
  const page = ids.subarray(0, 4);
  const keys = [
    pageKey(rootKey(), page),
    pageKey(rootKey("a"), page),
    pageKey(rootKey("b"), page),
    pageKey(pageKey(rootKey(), page), page),
  ];
  expect(new Set(keys).size).toBe(4);
});

test("a chain links page after page, whatever the order of asking", () => {
  const chain = new KeyChain(4);
  const second = pageKey(pageKey(rootKey(), ids.subarray(0, 4)), ids.subarray(4, 8));
  expect(chain.at(1, ids)).toBe(second);
  expect(chain.at(0, ids)).toBe(pageKey(rootKey(), ids.subarray(0, 4)));
});

test("a forked chain agrees on the shared pages and goes its own way after them", () => {
  const parent = new KeyChain(4, "salt");
  const other = Int32Array.from([...ids.subarray(0, 4), 1, 2, 3, 4]);
  const parentKey = parent.at(1, ids);
  const child = parent.fork(1);
  expect(child.at(0, other)).toBe(parent.at(0, ids));
  expect(child.at(1, other)).not.toBe(parentKey);
  expect(parent.at(1, ids)).toBe(parentKey);
});
