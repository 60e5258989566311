import { expect, test } from "vitest";
import { formatNumber } from "./format-number.ts";

test.each([
  [0, "0"],
  [8.2154, "8.215"],
  [12345, "12,345"],
  [1234.567, "1,235"],
  [0.000123456, "1.235e-4"],
  [0.0001, "1e-4"],
  [2.5e7, "25,000,000"],
  [25_000_000.5, "2.5e7"],
  [-0.5, "-0.5"],
  [Number.POSITIVE_INFINITY, "infinite"],
  [Number.NaN, "not a number"],
])("the number %d is written %s", (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

test("units are written with their nearest multiple", () => {
  expect(formatNumber(4.9e9, "bytes")).toBe("4.9 GB");
  expect(formatNumber(999, "bytes")).toBe("999 B");
  expect(formatNumber(0.0123, "seconds")).toBe("12.3 ms");
  expect(formatNumber(4e-7, "seconds")).toBe("0.4 µs");
  expect(formatNumber(0, "seconds")).toBe("0 s");
  expect(formatNumber(0.0149, "share")).toBe("1.49 %");
});

test("values of one axis share the multiple of its end", () => {
  expect([0, 0.5e9, 1e9].map((value) => formatNumber(value, "bytes", 4, 1e9))).toEqual(["0 GB", "0.5 GB", "1 GB"]);
});
