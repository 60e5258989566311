import { expect, test } from "vitest";
import { megabytes, table } from "./print.ts";

test("a table aligns numbers right and words left", () => {
  const rows = [
    ["int8-channel", "9.5 MB"],
    ["bf16", "118.2 MB"],
  ];
  expect(table(["weights", "bytes"], rows).split("\n")).toEqual([
    "weights          bytes",
    "------------  --------",
    "int8-channel    9.5 MB",
    "bf16          118.2 MB",
  ]);
});

test("a table without rows is its header", () => {
  expect(table(["weights"], [])).toBe("weights\n-------");
});

test("megabytes have two decimals below ten", () => {
  expect([megabytes(1_234_567), megabytes(123_456_789)]).toEqual(["1.23 MB", "123.5 MB"]);
});
