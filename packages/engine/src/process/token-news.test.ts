import { deserialize, serialize } from "node:v8";
import { expect, test } from "vitest";
import type { GenerateEvent } from "../engine.ts";
import { readTokenNews, TokenColumns, type TokenNews } from "./token-news.ts";

function add(columns: TokenColumns, requestId: number, tokenIds: readonly number[], text: string): void {
  for (const tokenId of tokenIds) columns.addToken(tokenId);
  columns.endRow(requestId, text);
}

function read(news: TokenNews): [requestId: number, event: GenerateEvent][] {
  const rows: [number, GenerateEvent][] = [];
  readTokenNews(news, (requestId, event) => rows.push([requestId, event]));
  return rows;
}

function delta(text: string, tokenIds: readonly number[]): GenerateEvent {
  return { type: "delta", index: 0, text, tokenIds, logprobs: [] };
}

test("tokens become columns, and come back as events in their order", () => {
  const columns = new TokenColumns();
  add(columns, 2 ** 40, [7], "a");
  add(columns, 2, [151_000, 3], "üb");
  add(columns, 3, [], "late");
  add(columns, 4, [9], "");
  add(columns, 5, [1], "\u{1F680}\u2028");
  // As the channel does it.
  expect(read(deserialize(serialize(columns.take())))).toEqual([
    [2 ** 40, delta("a", [7])],
    [2, delta("üb", [151_000, 3])],
    [3, delta("late", [])],
    [4, delta("", [9])],
    [5, delta("\u{1F680}\u2028", [1])],
  ]);
});

test("columns that were taken are not added to", () => {
  const columns = new TokenColumns();
  add(columns, 1, [7], "a");
  const first = columns.take();
  add(columns, 2, [8], "b");
  expect(read(first)).toEqual([[1, delta("a", [7])]]);
  expect(read(columns.take())).toEqual([[2, delta("b", [8])]]);
  expect(read(columns.take())).toEqual([]);
});
