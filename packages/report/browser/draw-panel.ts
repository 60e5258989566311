import uPlot from "uplot";
import { formatNumber } from "../src/format-number.ts";
import type { Drawing, DrawnAxis, Panel, Trace } from "../src/plots/drawing.ts";
import { logTicks, readableTicks, wholeSteps } from "./axis-ticks.ts";
import { drawPoints } from "./draw-points.ts";

/** A drawn panel. */
export interface PanelView {
  /** The element that holds the canvas and whose width decides the plot's. */
  readonly canvas: HTMLElement;
  redraw(): void;
  /** To `width` CSS pixels, or as wide as there is room. */
  resize(width?: number): void;
}

/** Draws one panel of a figure and wires its legend. Panels of a figure share their cursor. */
export function drawPanel(element: HTMLElement, drawing: Drawing, index: number, figure: string): PanelView {
  const panel = drawing.panels[index]!;
  const canvas = element.querySelector<HTMLElement>(".canvas")!;
  const size = (width = canvas.clientWidth): { width: number; height: number } => ({
    width: Math.max(120, width),
    height: Number(canvas.dataset.height),
  });
  const isLast = index === drawing.panels.length - 1;
  const { data, series, bands, first } = columns(panel);
  const values = [...element.querySelectorAll<HTMLElement>(".legend .value")];
  const plot = new uPlot(
    {
      ...size(),
      padding: [8, 12, null, null],
      scales: { x: scale(drawing.x), y: scale(panel.y) },
      axes: [axis(drawing.x, "x", isLast), axis(panel.y, "y", true, drawing.panels.length > 1)],
      series: [{}, ...series],
      bands,
      legend: { show: false },
      cursor: {
        drag: { x: false, y: false },
        points: { size: 6 },
        ...(drawing.panels.length > 1 ? { sync: { key: figure } } : {}),
      },
      hooks: {
        draw: [(self) => drawPoints(self, panel.traces, { paper: style("--paper"), color })],
        setCursor: [(self) => showValues(self, drawing.x, panel, first, values)],
      },
    },
    data,
    canvas,
  );
  wireLegend(element, plot, panel, first);
  return { canvas, redraw: () => plot.redraw(false, true), resize: (width) => plot.setSize(size(width)) };
}

/** uPlot's columns over the union of all x. `first` is the index of each trace's own series; a band adds two behind it. */
function columns({ traces }: Panel): {
  readonly data: uPlot.AlignedData;
  readonly series: uPlot.Series[];
  readonly bands: uPlot.Band[];
  readonly first: readonly number[];
} {
  const series: uPlot.Series[] = [];
  const bands: uPlot.Band[] = [];
  const first: number[] = [];
  const tables = traces.map((trace): uPlot.AlignedData => {
    first.push(series.length + 1);
    series.push(strokeSeries(trace));
    // Points may share an x, which columns cannot hold: drawPoints reads the trace itself.
    if (trace.shape === "points") return [[...new Set(trace.x)], [...new Set(trace.x)].map(() => null)];
    const { low, high } = trace;
    if (low === undefined || high === undefined) return [[...trace.x], [...trace.y]];
    const edge: uPlot.Series = { stroke: "transparent", width: 0, points: { show: false } };
    bands.push({ series: [series.length + 2, series.length + 1], fill: () => translucent(trace.color, 0.18) });
    series.push(edge, edge);
    return [[...trace.x], [...trace.y], [...low], [...high]];
  });
  return {
    data: uPlot.join(
      tables,
      tables.map((table) => table.map(() => expandGaps)),
    ),
    series,
    bands,
    first,
  };
}

// A null ends a stroke until the series' own next x, whatever x other series have between.
const expandGaps: uPlot.JoinNullMode = 2;

// Up to so many points of a line are marked.
const markedPoints = 64;

function strokeSeries(trace: Trace): uPlot.Series {
  const { shape, dashed, x } = trace;
  const stepped = shape === "steps" || shape === "area";
  return {
    stroke: () => color(trace.color),
    width: shape === "area" ? 1.25 : 1.75,
    ...(dashed ? { dash: [6, 4] } : {}),
    ...(stepped ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {}),
    ...(shape === "area" ? { fill: () => translucent(trace.color, 0.22) } : {}),
    points: { show: shape === "line" && x.length <= markedPoints, size: 5, fill: () => color(trace.color) },
  };
}

function scale({ log, low, high }: DrawnAxis): uPlot.Scale {
  return { time: false, distr: log ? 3 : 1, range: () => [low, high] };
}

// Panels under one another have y axes of one width, so that their x axes agree.
const sharedWidth = 68;

function axis(drawn: DrawnAxis, side: "x" | "y", isLabelled: boolean, isShared = false): uPlot.Axis {
  const { label, unit, log, high, categories } = drawn;
  const text = (value: number | null): string => {
    if (value === null) return "";
    return categories === undefined ? formatNumber(value, unit, 4, log ? value : high) : (categories[value] ?? "");
  };
  return {
    stroke: () => style("--plot-text"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: () => style("--plot-grid"), width: 1, ...(side === "x" && { show: categories === undefined }) },
    ticks: { stroke: () => style("--plot-grid"), width: 1, size: 4 },
    border: { show: true, stroke: () => style("--plot-axis"), width: 1 },
    values: (_, splits) => (isLabelled ? splits.map(text) : splits.map(() => "")),
    space: side === "x" ? 64 : 30,
    // As wide as the widest tick, so that no label is cut off.
    ...(side === "y" && { size: isShared ? sharedWidth : tickWidth }),
    ...(side === "x" && { size: isLabelled ? 28 : 10 }),
    ...(side === "x" &&
      isLabelled &&
      label !== "" && { label, labelSize: 20, labelGap: 2, labelFont: "12px system-ui, sans-serif" }),
    ...(log && {
      splits: () => logTicks(drawn),
      filter: (self: uPlot, ticks: number[]) => readableTicks(ticks, (tick) => self.valToPos(tick, side), side),
    }),
    ...(unit === "count" && { incrs: wholeSteps }),
    ...(categories !== undefined && { splits: () => categories.map((_, i) => i) }),
  };
}

function tickWidth(self: uPlot, ticks: string[] | null, index: number, cycle: number): number {
  // uPlot asks again until nothing changes; shrinking in later rounds would let it go on for ever.
  if (cycle > 1) return (self.axes[index] as uPlot.Axis & { _size: number })._size;
  const longest = Math.max(0, ...(ticks ?? []).map((tick) => tick.length));
  return Math.ceil(18 + longest * 6.6);
}

function showValues(
  self: uPlot,
  x: DrawnAxis,
  panel: Panel,
  first: readonly number[],
  values: readonly HTMLElement[],
): void {
  const at = self.cursor.idx;
  for (const [index, element] of values.entries()) {
    const value = at == null ? undefined : self.data[first[index]!]![at];
    element.textContent = value == null ? "" : formatNumber(value, panel.y.unit);
  }
  const where = self.root.closest(".panel")!.querySelector(".where")!;
  const here = at == null ? undefined : self.data[0][at];
  const only = values.length > 0 || at == null ? undefined : self.data[1]![at];
  where.textContent = [
    here === undefined ? "" : `${x.label} ${x.categories?.[Math.round(here)] ?? formatNumber(here, x.unit)}`,
    only == null ? "" : `: ${formatNumber(only, panel.y.unit)}`,
  ].join("");
}

function wireLegend(element: HTMLElement, plot: uPlot, { traces }: Panel, first: readonly number[]): void {
  for (const [index, button] of element.querySelectorAll<HTMLButtonElement>(".legend button").entries()) {
    button.addEventListener("click", () => {
      const show = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(show));
      const isBanded = traces[index]!.low !== undefined;
      for (let i = first[index]!; i <= first[index]! + (isBanded ? 2 : 0); i++) plot.setSeries(i, { show });
    });
  }
}

function style(variable: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}

function color(index: Trace["color"]): string {
  return style(`--series-${index}`);
}

function translucent(index: Trace["color"], alpha: number): string {
  const opaque = color(index); // #rrggbb
  return `${opaque}${Math.round(alpha * 255)
    .toString(16)
    .padStart(2, "0")}`;
}
