import { expect, test } from "vitest";
import { AdjacencySplitter } from "./adjacency-splitter.ts";

const tokens = ["▁", "▁▁", "a", "b", "▁a", "ab", "▁ab", "🚀"];
const filler = "▁ab".repeat(400);

test("long text is cut exactly where no token holds the two characters together", () => {
  const pieces = new AdjacencySplitter(tokens).split(`${filler}b▁▁ab🚀🚀a`);
  expect(pieces.join("")).toBe(`${filler}b▁▁ab🚀🚀a`);
  expect(pieces.slice(400)).toEqual(["b", "▁▁ab", "🚀", "🚀", "a"]);
});

test("short text stays whole", () => {
  expect(new AdjacencySplitter(tokens).split("▁ab▁ab")).toEqual(["▁ab▁ab"]);
});
