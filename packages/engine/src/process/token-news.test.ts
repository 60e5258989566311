import { expect, test } from "vitest";
import { TokenColumns, tokenEvent } from "./token-news.ts";

function add(columns: TokenColumns, requestId: number, tokenIds: readonly number[], text: string): void {
  for (const tokenId of tokenIds) columns.addToken(tokenId);
  columns.endRow(requestId, text);
}

test("tokens become columns, and come back as events in their order", () => {
  const columns = new TokenColumns();
  add(columns, 2 ** 40, [7], "a");
  add(columns, 2, [151_000, 3], "üb");
  add(columns, 3, [], "late");
  const news = columns.take();
  expect([...news.requestIds]).toEqual([2 ** 40, 2, 3]);
  expect([0, 1, 2].map((row) => tokenEvent(news, row))).toEqual([
    { type: "delta", index: 0, text: "a", tokenIds: [7], logprobs: [] },
    { type: "delta", index: 0, text: "üb", tokenIds: [151_000, 3], logprobs: [] },
    { type: "delta", index: 0, text: "late", tokenIds: [], logprobs: [] },
  ]);
});

test("columns that were taken are not added to", () => {
  const columns = new TokenColumns();
  add(columns, 1, [7], "a");
  const first = columns.take();
  add(columns, 2, [8], "b");
  expect(first.texts).toEqual(["a"]);
  const second = columns.take();
  expect([...second.requestIds]).toEqual([2]);
  expect(tokenEvent(second, 0)).toMatchObject({ tokenIds: [8] });
  expect(columns.take().texts).toEqual([]);
});
