export { formatNumber } from "./format-number.ts";
export type { Cell, Fact, Figure, Part, ReportPage, Section, Table } from "./page-parts.ts";
export { cumulative } from "./plots/cumulative.ts";
export { paretoFront } from "./plots/pareto-front.ts";
export type {
  Axis,
  BarPlot,
  HistogramPlot,
  HistogramSeries,
  LinePlot,
  LineSeries,
  Plot,
  ScatterPlot,
  ScatterPoint,
  TimelinePlot,
  Unit,
} from "./plots/plot.ts";
export { reportPage } from "./report-page.ts";
