import type uPlot from "uplot";
import type { Trace } from "../src/plots/drawing.ts";

interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

const radius = 4.5; // CSS pixels, as the rest

/** Draws the traces of shape `points` with their labels, each label where it covers nothing that is already there. */
export function drawPoints(
  plot: uPlot,
  traces: readonly Trace[],
  { paper, color }: { readonly paper: string; readonly color: (index: Trace["color"]) => string },
): void {
  const scatter = traces.filter((trace, index) => trace.shape === "points" && plot.series[index + 1]!.show !== false);
  if (scatter.length === 0) return;
  const { ctx, bbox } = plot;
  const ratio = ctx.canvas.width / plot.width;
  ctx.save();
  ctx.scale(ratio, ratio);
  ctx.font = "12px system-ui, sans-serif";
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.lineWidth = 4;
  ctx.lineJoin = "round";
  const area = {
    left: bbox.left / ratio,
    top: bbox.top / ratio,
    right: (bbox.left + bbox.width) / ratio,
    bottom: (bbox.top + bbox.height) / ratio,
  };
  const points = scatter.flatMap((trace) =>
    trace.x.flatMap((x, i) => {
      const y = trace.y[i];
      if (y == null) return [];
      const [left, top] = [plot.valToPos(x, "x", true) / ratio, plot.valToPos(y, "y", true) / ratio];
      return [{ left, top, color: color(trace.color), label: trace.labels?.[i] ?? "" }];
    }),
  );
  const taken: Box[] = points.map(({ left, top }) => around(left, top, radius));
  for (const point of points) {
    ctx.fillStyle = point.color;
    ctx.beginPath();
    ctx.arc(point.left, point.top, radius, 0, 2 * Math.PI);
    ctx.fill();
  }
  for (const { left, top, label, color: fill } of points) {
    if (label === "") continue;
    const place = places(left, top, ctx.measureText(label).width).find((box) => isFree(box, taken, area));
    // Without room the label is left out: the figure's table of numbers has it.
    if (place === undefined) continue;
    taken.push(place);
    const middle = (place.top + place.bottom) / 2;
    // A rim in the page's colour keeps it readable on lines and grid.
    ctx.strokeStyle = paper;
    ctx.strokeText(label, place.left, middle);
    ctx.fillStyle = fill;
    ctx.fillText(label, place.left, middle);
  }
  ctx.restore();
}

function around(left: number, top: number, reach: number): Box {
  return { left: left - reach, top: top - reach, right: left + reach, bottom: top + reach };
}

/** Right, left, above and below of a point, then the corners. */
function places(left: number, top: number, width: number): readonly Box[] {
  const gap = radius + 4;
  const half = 7; // of a line of text
  const box = (x: number, y: number): Box => ({ left: x, top: y - half, right: x + width, bottom: y + half });
  const [after, before] = [left + gap, left - gap - width];
  return [
    box(after, top),
    box(before, top),
    box(left - width / 2, top - gap - half),
    box(left - width / 2, top + gap + half),
    ...[-14, 14].flatMap((shift) => [box(after, top + shift), box(before, top + shift)]),
  ];
}

function isFree(box: Box, taken: readonly Box[], area: Box): boolean {
  const isInside = box.left >= area.left && box.right <= area.right && box.top >= area.top && box.bottom <= area.bottom;
  return (
    isInside &&
    taken.every(
      ({ left, top, right, bottom }) => box.right < left || box.left > right || box.bottom < top || box.top > bottom,
    )
  );
}
