import type { ScatterPlot, ScatterPoint } from "./plot.ts";

/** The points that no other point beats or equals in one coordinate and beats in the other, in the order of x. */
export function paretoFront<Point extends ScatterPoint>(
  points: readonly Point[],
  better: NonNullable<ScatterPlot["better"]>,
): readonly Point[] {
  const cost = (value: number, end: "low" | "high"): number => (end === "low" ? value : -value);
  const ordered = [...points].sort(
    (a, b) => cost(a.x, better.x) - cost(b.x, better.x) || cost(a.y, better.y) - cost(b.y, better.y),
  );
  let best = Number.POSITIVE_INFINITY;
  const front = ordered.filter(({ y }) => {
    const isBetter = cost(y, better.y) < best;
    if (isBetter) best = cost(y, better.y);
    return isBetter;
  });
  return front.sort((a, b) => a.x - b.x);
}
