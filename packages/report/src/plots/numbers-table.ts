import type { Cell, Table } from "../page-parts.ts";
import type { Axis, BarPlot, HistogramPlot, LineSeries, Plot, ScatterPlot, Unit } from "./plot.ts";

/** A longer table is thinned out: it is there to be read, and the page is not to grow with it. */
const mostRows = 256;

/** The numbers that a plot draws, for readers without script or sight. */
export function numbersTable(plot: Plot): Table {
  switch (plot.kind) {
    case "lines":
      return linesTable(plot.x, [plot]);
    case "timeline":
      return linesTable(plot.x, plot.panels);
    case "histogram":
      return histogramTable(plot);
    case "bars":
      return barTable(plot);
    case "scatter":
      return scatterTable(plot);
    default:
      return plot satisfies never;
  }
}

interface Column {
  readonly title: string;
  readonly unit: Unit;
  readonly byX: ReadonlyMap<number, number | null>;
}

/** A row per x of any series. */
function linesTable(x: Axis, panels: readonly { y: Axis; series: readonly LineSeries[] }[]): Table {
  const columns = panels.flatMap(({ y, series }) => series.flatMap((one) => lineColumns(one, y)));
  const xs = [...new Set(columns.flatMap(({ byX }) => [...byX.keys()]))].sort((a, b) => a - b);
  return thinned({
    columns: [head(x), ...columns.map(({ title, unit }) => ({ title, unit }))],
    rows: xs.map((at) => [at, ...columns.map(({ byX }) => byX.get(at) ?? null)]),
  });
}

function lineColumns({ name, x, y, band }: LineSeries, { unit = "number" }: Axis): readonly Column[] {
  const column = (title: string, values: readonly (number | null)[]): Column => ({
    title,
    unit,
    byX: new Map(x.map((at, i) => [at, values[i]!])),
  });
  if (band === undefined) return [column(name, y)];
  return [column(name, y), column(`${name}, low`, band.low), column(`${name}, high`, band.high)];
}

/** A row per bin; series over the same bins share their rows. */
function histogramTable({ x, y, series }: HistogramPlot): Table {
  const unit = y.unit ?? "number";
  const bins = new Map<string, { readonly ends: readonly Cell[]; readonly counts: (number | null)[] }>();
  for (const [index, { edges, counts }] of series.entries()) {
    for (const [bin, count] of counts.entries()) {
      const ends = [edges[bin]!, edges[bin + 1]!];
      const row = bins.get(ends.join()) ?? { ends, counts: series.map(() => null) };
      row.counts[index] = count;
      bins.set(ends.join(), row);
    }
  }
  const rows = [...bins.values()].filter(({ counts }) => counts.some((count) => count !== null && count > 0));
  rows.sort((a, b) => Number(a.ends[0]) - Number(b.ends[0]));
  return thinned({
    columns: [
      head({ ...x, label: `${x.label} from` }),
      head({ ...x, label: "to" }),
      ...series.map(({ name }) => ({ title: name, unit })),
    ],
    rows: rows.map(({ ends, counts }) => [...ends, ...counts]),
  });
}

function barTable({ categories, y, series }: BarPlot): Table {
  const unit = y.unit ?? "number";
  return thinned({
    columns: [{ title: "" }, ...series.map(({ name }) => ({ title: name, unit }))],
    rows: categories.map((category, i) => [category, ...series.map(({ values }) => values[i]!)]),
  });
}

function scatterTable({ x, y, series }: ScatterPlot): Table {
  return thinned({
    columns: [{ title: "series" }, { title: "point" }, head(x), head(y)],
    rows: series.flatMap(({ name, points }) => points.map((point) => [name, point.label ?? "", point.x, point.y])),
  });
}

function head({ label, unit = "number" }: Axis): { readonly title: string; readonly unit: Unit } {
  return { title: label, unit };
}

function thinned(table: Table): Table {
  const step = Math.ceil(table.rows.length / mostRows);
  if (step <= 1) return table;
  const caption = `Every ${step}. row of ${table.rows.length.toLocaleString("en")}.`;
  return { ...table, caption, rows: table.rows.filter((_, i) => i % step === 0) };
}
