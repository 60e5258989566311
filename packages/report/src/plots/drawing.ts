import { KvantError } from "@kvant/core";
import { paretoFront } from "./pareto-front.ts";
import type { Axis, BarPlot, HistogramSeries, LineSeries, Plot, ScatterPlot, Unit } from "./plot.ts";

/** An axis with its ends decided. */
export interface DrawnAxis {
  readonly label: string;
  readonly unit: Unit;
  readonly log: boolean;
  readonly low: number;
  readonly high: number;
  /** Names at 0, 1, 2 ... in place of numbers. */
  readonly categories?: readonly string[];
}

/** What the browser draws in one stroke. */
export interface Trace {
  readonly name: string;
  readonly shape: "line" | "steps" | "area" | "points";
  /** Index into the page's colours; `muted` is grey. */
  readonly color: number | "muted";
  readonly dashed: boolean;
  readonly x: readonly number[];
  readonly y: readonly (number | null)[];
  readonly low?: readonly (number | null)[];
  readonly high?: readonly (number | null)[];
  /** Written beside the points. */
  readonly labels?: readonly string[];
}

export interface Panel {
  readonly y: DrawnAxis;
  readonly traces: readonly Trace[];
}

/** A plot in the few terms that the page's script knows: panels of traces over one x axis. Embedded as JSON. */
export interface Drawing {
  readonly x: DrawnAxis;
  readonly panels: readonly Panel[];
  /** Values that have no place on their axis: not finite, or not positive where the axis is logarithmic. */
  readonly hiddenCount: number;
}

/**
 * Lowers a plot.
 * @throws KvantError INVALID_ARGUMENT if a series' columns differ in length or its x does not ascend
 */
export function drawing(plot: Plot): Drawing {
  switch (plot.kind) {
    case "lines":
      return assemble(plot.x, [{ y: plot.y, traces: painted(plot.series, lineShape) }]);
    case "timeline":
      return assemble(
        plot.x,
        plot.panels.map(({ y, series }) => ({ y, traces: painted(series, lineShape) })),
      );
    case "histogram":
      return assemble(plot.x, [{ y: fromZero(plot.y), traces: histogramTraces(plot.series) }]);
    case "bars":
      return barDrawing(plot);
    case "scatter":
      return assemble(plot.x, [{ y: plot.y, traces: scatterTraces(plot) }], 0.08);
    default:
      return plot satisfies never;
  }
}

/** Series beyond the last colour start again, dashed. */
export const colorCount = 7;

type Shape = Omit<Trace, "color" | "dashed">;

/** Gives colours in the order of the series; those that are muted take none. */
function painted<Series extends { readonly muted?: boolean; readonly dashed?: boolean }>(
  series: readonly Series[],
  shapeOf: (one: Series, index: number) => Shape,
): readonly Trace[] {
  let next = 0;
  return series.map((one, index): Trace => {
    const { muted = false, dashed = false } = one;
    if (muted) return { ...shapeOf(one, index), color: "muted", dashed };
    const color = next++;
    return { ...shapeOf(one, index), color: color % colorCount, dashed: dashed || color >= colorCount };
  });
}

function lineShape({ name, x, y, band, shape = "line" }: LineSeries): Shape {
  requireAscending(name, x);
  for (const column of [y, ...(band === undefined ? [] : [band.low, band.high])]) requireLength(name, column, x.length);
  return { name, shape, x, y, ...band };
}

/** Of more series than these the fills would hide each other, and only outlines are drawn. */
const filledSeries = 3;

function histogramTraces(series: readonly HistogramSeries[]): readonly Trace[] {
  const shape = series.length > filledSeries ? "steps" : "area";
  return painted(series, (one) => ({ ...histogramShape(one), shape }));
}

function histogramShape({ name, edges, counts }: HistogramSeries): Shape {
  requireAscending(name, edges);
  requireLength(name, counts, edges.length - 1);
  // The last bin ends where its count is repeated.
  return { name, shape: "area", x: edges, y: [...counts, counts.at(-1) ?? 0] };
}

// The share of a category's width that its bars fill.
const barsWidth = 0.76;

function barDrawing({ categories, y, series }: BarPlot): Drawing {
  const width = barsWidth / Math.max(1, series.length);
  const traces = painted(series, ({ name, values }, index): Shape => {
    requireLength(name, values, categories.length);
    const left = index * width - barsWidth / 2;
    // The null behind each bar ends it, before the next one begins.
    const x = categories.flatMap((_, i) => [i + left, i + left + width * 0.94, i + left + width * 0.95]);
    return { name, shape: "area", x, y: values.flatMap((value) => [value, value, null]) };
  });
  const x: Axis = { label: "", low: -0.5, high: categories.length - 0.5 };
  const lowered = assemble(x, [{ y: fromZero(y), traces }]);
  return { ...lowered, x: { ...lowered.x, categories } };
}

function scatterTraces({ series, better }: ScatterPlot): readonly Trace[] {
  const traces = painted(series, ({ name, points }): Shape => {
    const ordered = [...points].sort((a, b) => a.x - b.x);
    return {
      ...{ name, shape: "points", x: ordered.map((point) => point.x), y: ordered.map((point) => point.y) },
      labels: ordered.map(({ label = "" }) => label),
    };
  });
  if (better === undefined) return traces;
  const front = paretoFront(
    series.flatMap((one) => one.points),
    better,
  );
  const [x, y] = [front.map((point) => point.x), front.map((point) => point.y)];
  return [...traces, { name: "Pareto front", shape: "line", color: "muted", dashed: true, x, y }];
}

function fromZero(axis: Axis): Axis {
  return axis.scale === "log" ? axis : { low: 0, ...axis };
}

/** @param margin the share of an axis that is left free at the ends that data decide */
function assemble(x: Axis, panels: readonly { y: Axis; traces: readonly Trace[] }[], margin = 0.04): Drawing {
  const all = panels.flatMap(({ traces }) => traces);
  const edge = all.some(({ shape }) => shape === "points") ? margin : 0;
  const shown = panels.map(({ y, traces }) => ({ y, traces: traces.map((trace) => visible(trace, x, y)) }));
  return {
    x: drawnAxis(
      x,
      all.flatMap((trace) => trace.x),
      edge,
    ),
    panels: shown.map(({ y, traces }) => ({
      y: drawnAxis(
        y,
        traces.flatMap(({ trace: { y: values, low = [], high = [] } }) => [...values, ...low, ...high]),
        margin,
      ),
      traces: traces.map(({ trace }) => trace),
    })),
    hiddenCount: shown.flatMap(({ traces }) => traces).reduce((sum, { hidden }) => sum + hidden, 0),
  };
}

function visible(trace: Trace, x: Axis, y: Axis): { readonly trace: Trace; readonly hidden: number } {
  const keep = trace.x.map((value) => hasPlace(value, x));
  const kept = <Value>(values: readonly Value[]): readonly Value[] => values.filter((_, i) => keep[i]);
  const placed = (values: readonly (number | null)[]): readonly (number | null)[] =>
    kept(values).map((value) => (value !== null && hasPlace(value, y) ? rounded(value) : null));
  // An empty bin of a histogram has nothing to hide.
  const isHidden = (value: number | null, i: number): boolean =>
    value !== null && !(keep[i] && hasPlace(value, y)) && !(trace.shape === "area" && value === 0);
  return {
    trace: {
      ...trace,
      ...{ x: kept(trace.x).map(rounded), y: placed(trace.y) },
      ...(trace.low === undefined ? {} : { low: placed(trace.low) }),
      ...(trace.high === undefined ? {} : { high: placed(trace.high) }),
      ...(trace.labels === undefined ? {} : { labels: kept(trace.labels) }),
    },
    hidden: trace.y.filter(isHidden).length,
  };
}

function hasPlace(value: number, { scale }: Axis): boolean {
  return Number.isFinite(value) && (scale !== "log" || value > 0);
}

function drawnAxis(
  { label, unit = "number", scale = "linear", low, high }: Axis,
  values: readonly (number | null)[],
  margin: number,
): DrawnAxis {
  const log = scale === "log";
  const [least, most] = extremes(values, log);
  const [from, to] = log ? [Math.log10(least), Math.log10(most)] : [least, most];
  // One value alone needs an axis too: a decade, or its own size, around it.
  const span = to > from ? to - from : log ? 1 : Math.abs(from) || 1;
  const pad = to > from ? margin * span : span / 2;
  const back = (value: number): number => (log ? 10 ** value : value);
  return { label, unit, log, low: low ?? back(from - pad), high: high ?? back(to + pad) };
}

function extremes(values: readonly (number | null)[], log: boolean): readonly [number, number] {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value === null || !Number.isFinite(value) || (log && value <= 0)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return least <= most ? [least, most] : log ? [1, 10] : [0, 1];
}

/** Seven digits are more than a pixel shows, and half of what a double prints. */
function rounded(value: number): number {
  return Number(value.toPrecision(7));
}

function requireLength(name: string, column: readonly unknown[], length: number): void {
  if (column.length === length) return;
  throw new KvantError("INVALID_ARGUMENT", `series ${name} has ${column.length} values where ${length} are needed`);
}

function requireAscending(name: string, x: readonly number[]): void {
  const at = x.findIndex((value, i) => i > 0 && !(value > x[i - 1]!));
  if (at < 0) return;
  throw new KvantError("INVALID_ARGUMENT", `series ${name}: x must ascend, and ${x[at]} comes after ${x[at - 1]}`);
}
