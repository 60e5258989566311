import type { Figure, LineSeries, Section } from "@kvant/report";
import type { LatencySummary, LoadLevel, LoadResult } from "../load/load-result.ts";
import { latencyMeasures, latencyTable } from "./load-tables.ts";

/** Where the slowest is so many times the median, a linear axis would show nothing but the tail. */
const wideRatio = 8;

/** Distributions that are worth a plot of their own: what a user waits for. */
const plotted = ["TTFT", "ITL", "e2e"];

/** The cumulative distributions of latencies, a line per level, and their percentiles. */
export function latencySection(result: LoadResult): Section | undefined {
  const figures = latencyMeasures
    .filter(({ short }) => plotted.includes(short))
    .flatMap(({ name, of }) => distribution(name, result.levels, of) ?? []);
  if (figures.length === 0) return undefined;
  const table = latencyTable(result);
  return {
    title: "Latency",
    parts: [
      { kind: "paragraph", text: explanation(result.levels) },
      { kind: "figures", figures },
      table.rows.length <= shownRows
        ? { kind: "table", ...table }
        : { kind: "details", summary: "All percentiles", parts: [{ kind: "table", ...table }] },
    ],
  };
}

/** A longer table is folded away. */
const shownRows = 18;

function explanation(levels: readonly LoadLevel[]): string {
  const isOpen = levels.some(({ requestsPerSecond }) => requestsPerSecond !== undefined);
  const start = isOpen
    ? "Latencies count from when a request was due, whether or not the client or the server was ready for it"
    : "Latencies count from when a request was sent: each stream sends its next one when the one before has ended";
  return `${start}. A chunk of several tokens counts once for each, with its share of the gap.`;
}

function distribution(
  name: string,
  levels: readonly LoadLevel[],
  of: (level: LoadLevel) => LatencySummary | undefined,
): Figure | undefined {
  const summaries = levels.flatMap((level) => {
    const summary = of(level);
    return summary === undefined || summary.count === 0 ? [] : [{ name: level.name, summary }];
  });
  if (summaries.length === 0) return undefined;
  const isWide = summaries.some(({ summary: { p50, max } }) => max > wideRatio * p50);
  return {
    title: `${name[0]!.toUpperCase()}${name.slice(1)}`,
    plot: {
      kind: "lines",
      x: { label: name, unit: "seconds", scale: isWide ? "log" : "linear" },
      y: { label: "share at or below", unit: "share", low: 0, high: 1 },
      series: summaries.map(({ name: level, summary }) => cumulativeSeries(level, summary)),
    },
  };
}

function cumulativeSeries(name: string, { cumulative }: LatencySummary): LineSeries {
  return { name, x: cumulative.map(([seconds]) => seconds), y: cumulative.map(([, share]) => share), shape: "steps" };
}
