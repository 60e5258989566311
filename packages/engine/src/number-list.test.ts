import { expect, test } from "vitest";
import { NumberList } from "./number-list.ts";

test("grows past its capacity, keeps what it has, and starts again", () => {
  const list = new NumberList(Int32Array, 2);
  for (let i = 0; i < 9; i++) list.push(i * 11);
  expect(list.view()).toEqual(Int32Array.of(0, 11, 22, 33, 44, 55, 66, 77, 88));
  list.length = 0;
  list.push(5);
  expect(list.view()).toEqual(Int32Array.of(5));
});

test("holds numbers beyond 32 bits where its type does", () => {
  const list = new NumberList(Float64Array, 1);
  list.push(2 ** 40);
  list.push(0.5);
  expect(list.view()).toEqual(Float64Array.of(2 ** 40, 0.5));
});
