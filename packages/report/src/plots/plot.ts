/**
 * How the values of an axis or a column are written. `share` holds fractions and is shown in percent, `seconds` are shown in
 * µs, ms or s, `bytes` in decimal kB, MB, GB. An axis of a `count` has ticks at whole numbers alone.
 */
export type Unit = "number" | "count" | "bytes" | "share" | "seconds";

export interface Axis {
  readonly label: string;
  /** `number` unless given. */
  readonly unit?: Unit;
  /** `linear` unless given. A logarithmic axis leaves out values that are not positive, and the figure says how many. */
  readonly scale?: "linear" | "log";
  /** Ends of the axis that the data shall not decide. */
  readonly low?: number;
  readonly high?: number;
}

/** Points joined in the order of x, which ascends strictly. */
export interface LineSeries {
  readonly name: string;
  /** [points] */
  readonly x: readonly number[];
  /** [points]; null is a gap */
  readonly y: readonly (number | null)[];
  /** A confidence band around y: [points] each. */
  readonly band?: { readonly low: readonly (number | null)[]; readonly high: readonly (number | null)[] };
  /** `line` unless given; `steps` holds each value until the next x. */
  readonly shape?: "line" | "steps";
  readonly dashed?: boolean;
  /** Grey: what the other series are compared with. */
  readonly muted?: boolean;
}

export interface LinePlot {
  readonly kind: "lines";
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly LineSeries[];
}

/** Panels under one another that share the x axis: quantities of different units over the same time. */
export interface TimelinePlot {
  readonly kind: "timeline";
  readonly x: Axis;
  readonly panels: readonly { readonly y: Axis; readonly series: readonly LineSeries[] }[];
}

/** Counts (or shares) over bins, overlaid. */
export interface HistogramSeries {
  readonly name: string;
  /** [bins + 1], ascending */
  readonly edges: readonly number[];
  /** [bins] */
  readonly counts: readonly number[];
  readonly muted?: boolean;
}

export interface HistogramPlot {
  readonly kind: "histogram";
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly HistogramSeries[];
}

/** Bars side by side, a group of them per category. */
export interface BarPlot {
  readonly kind: "bars";
  readonly categories: readonly string[];
  readonly y: Axis;
  readonly series: readonly {
    readonly name: string;
    /** [categories] */
    readonly values: readonly (number | null)[];
    readonly muted?: boolean;
  }[];
}

export interface ScatterPoint {
  readonly x: number;
  readonly y: number;
  /** Written beside the point. */
  readonly label?: string;
}

export interface ScatterPlot {
  readonly kind: "scatter";
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly {
    readonly name: string;
    readonly points: readonly ScatterPoint[];
    readonly muted?: boolean;
  }[];
  /** Which end of each axis is better; draws the Pareto front through the points that no other beats in both. */
  readonly better?: { readonly x: "low" | "high"; readonly y: "low" | "high" };
}

export type Plot = LinePlot | TimelinePlot | HistogramPlot | BarPlot | ScatterPlot;
