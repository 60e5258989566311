import { expect, test } from "vitest";
import { TokenColumns, tokenEvent } from "./token-news.ts";

test("tokens become columns, and come back as events in their order", () => {
  const columns = new TokenColumns();
  columns.add(2 ** 40, 7, "a");
  columns.add(2, 151_000, "ü");
  const news = columns.take();
  expect([...news.requestIds]).toEqual([2 ** 40, 2]);
  expect([0, 1].map((row) => tokenEvent(news, row))).toEqual([
    { type: "delta", index: 0, text: "a", tokenIds: [7], logprobs: [] },
    { type: "delta", index: 0, text: "ü", tokenIds: [151_000], logprobs: [] },
  ]);
});

test("columns that were taken are not added to", () => {
  const columns = new TokenColumns();
  columns.add(1, 7, "a");
  const first = columns.take();
  columns.add(2, 8, "b");
  expect(first.texts).toEqual(["a"]);
  expect([...columns.take().requestIds]).toEqual([2]);
  expect(columns.take().texts).toEqual([]);
});
