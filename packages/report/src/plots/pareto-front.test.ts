import { expect, test } from "vitest";
import { paretoFront } from "./pareto-front.ts";

const points = [
  { x: 1, y: 9 },
  { x: 2, y: 5 },
  { x: 2, y: 6 },
  { x: 3, y: 5 },
  { x: 4, y: 1 },
];

test("the front holds what no other point beats in both coordinates", () => {
  expect(paretoFront(points, { x: "low", y: "low" })).toEqual([points[0], points[1], points[4]]);
});

test("either end of an axis may be the better one", () => {
  expect(paretoFront(points, { x: "high", y: "high" })).toEqual([points[0], points[2], points[3], points[4]]);
  expect(paretoFront(points, { x: "low", y: "high" })).toEqual([points[0]]);
});
