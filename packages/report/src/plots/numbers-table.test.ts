import { expect, test } from "vitest";
import { numbersTable } from "./numbers-table.ts";

const [x, y] = [{ label: "x" }, { label: "y", unit: "share" }] as const;

test("series over different x share a table with a row per x", () => {
  const series = [
    { name: "a", x: [0, 2], y: [0.1, 0.2] },
    { name: "b", x: [1, 2], y: [0.3, 0.4], band: { low: [0.2, 0.3], high: [0.5, 0.6] } },
  ];
  const { columns, rows } = numbersTable({ kind: "lines", x, y, series });
  expect(columns.map(({ title }) => title)).toEqual(["x", "a", "b", "b, low", "b, high"]);
  expect(rows).toEqual([
    [0, 0.1, null, null, null],
    [1, null, 0.3, 0.2, 0.5],
    [2, 0.2, 0.4, 0.3, 0.6],
  ]);
});

test("a histogram has a row per bin that holds anything", () => {
  const series = [
    { name: "before", edges: [0, 1, 2, 3], counts: [4, 0, 1] },
    { name: "after", edges: [0, 1, 2, 3], counts: [5, 0, 0] },
  ];
  expect(numbersTable({ kind: "histogram", x, y, series }).rows).toEqual([
    [0, 1, 4, 5],
    [2, 3, 1, 0],
  ]);
});

test("bars and points are listed with their names", () => {
  const bars = [{ name: "cold", values: [1, null] }];
  expect(numbersTable({ kind: "bars", categories: ["p", "q"], y, series: bars }).rows).toEqual([
    ["p", 1],
    ["q", null],
  ]);
  const points = [{ name: "gptq", points: [{ x: 1, y: 2, label: "int4" }] }];
  expect(numbersTable({ kind: "scatter", x, y, series: points }).rows).toEqual([["gptq", "int4", 1, 2]]);
});

test("a long table is thinned out and says so", () => {
  const long = Array.from({ length: 1000 }, (_, i) => i);
  const { rows, caption } = numbersTable({ kind: "lines", x, y, series: [{ name: "a", x: long, y: long }] });
  expect(rows).toHaveLength(250);
  expect(caption).toBe("Every 4. row of 1,000.");
});
