import { expect, test } from "vitest";
import { colorCount, drawing } from "./drawing.ts";
import type { LinePlot } from "./plot.ts";

const lines = (series: LinePlot["series"], y: Partial<LinePlot["y"]> = {}): LinePlot => ({
  ...{ kind: "lines", x: { label: "x" }, y: { label: "y", ...y }, series },
});

test("axes end a little beyond their data, unless their ends are given", () => {
  const { x, panels } = drawing(lines([{ name: "a", x: [0, 10], y: [1, 2] }], { low: 0 }));
  expect([x.low, x.high]).toEqual([0, 10]);
  expect(panels[0]!.y).toMatchObject({ low: 0, high: 2.04 });
});

test("a logarithmic axis grows by factors, and counts the values that it cannot show", () => {
  const { panels, hiddenCount } = drawing(
    lines([{ name: "a", x: [0, 1, 2, 3, 4], y: [1, 0, -1, null, 100] }], { scale: "log" }),
  );
  expect(panels[0]!.traces[0]!.y).toEqual([1, null, null, null, 100]);
  expect(hiddenCount).toBe(2);
  expect(panels[0]!.y.low).toBeCloseTo(10 ** -0.08, 12);
  expect(panels[0]!.y.high).toBeCloseTo(10 ** 2.08, 9);
});

test("values that are not finite are counted and leave a gap", () => {
  const { panels, hiddenCount } = drawing(lines([{ name: "a", x: [0, 1, 2], y: [1, Number.POSITIVE_INFINITY, 3] }]));
  expect(panels[0]!.traces[0]!.y).toEqual([1, null, 3]);
  expect(hiddenCount).toBe(1);
});

test.each([[[]], [[5]], [[0]]])("an axis has room for the values %j", (y) => {
  for (const scale of ["linear", "log"] as const) {
    const axis = drawing(lines([{ name: "a", x: y.map((_, i) => i), y }], { scale })).panels[0]!.y;
    expect(axis.high, scale).toBeGreaterThan(axis.low);
    expect(Number.isFinite(axis.high - axis.low), scale).toBe(true);
  }
});

test("muted series take no colour; past the last colour series start again, dashed", () => {
  const one = { name: "a", x: [0], y: [1] };
  const { traces } = drawing(lines([{ ...one, muted: true }, ...Array.from({ length: colorCount + 1 }, () => one)]))
    .panels[0]!;
  expect(traces.map(({ color }) => color)).toEqual(["muted", 0, 1, 2, 3, 4, 5, 6, 0]);
  expect(traces.map(({ dashed }) => dashed).lastIndexOf(false)).toBe(colorCount);
  expect(traces.at(-1)!.dashed).toBe(true);
});

test("a histogram's axis begins at 0 and its last bin ends at the last edge", () => {
  const series = [{ name: "a", edges: [0, 1, 2, 4], counts: [5, 9, 3] }];
  const { panels } = drawing({ kind: "histogram", x: { label: "x" }, y: { label: "y" }, series });
  expect(panels[0]!.y.low).toBe(0);
  expect(panels[0]!.traces[0]).toMatchObject({ shape: "area", x: [0, 1, 2, 4], y: [5, 9, 3, 3] });
});

test("bars of a category stand side by side around its index, apart from those of the next", () => {
  const series = [
    { name: "a", values: [1, 2] },
    { name: "b", values: [3, null] },
  ];
  const { x, panels } = drawing({ kind: "bars", categories: ["p", "q"], y: { label: "y" }, series });
  expect(x).toMatchObject({ low: -0.5, high: 1.5, categories: ["p", "q"] });
  const [a, b] = panels[0]!.traces;
  expect(a!.y).toEqual([1, 1, null, 2, 2, null]);
  expect(b!.y).toEqual([3, 3, null, null, null, null]);
  expect(a!.x[2]!).toBeLessThan(b!.x[0]!);
  expect(b!.x[2]!).toBeLessThan(a!.x[3]!);
});

test("columns that do not fit together are refused", () => {
  expect(() => drawing(lines([{ name: "a", x: [0, 1], y: [1] }]))).toThrow("series a has 1 values where 2 are needed");
  expect(() => drawing(lines([{ name: "a", x: [1, 1], y: [1, 2] }]))).toThrow("x must ascend, and 1 comes after 1");
});
