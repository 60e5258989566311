import { formatNumber, type Table } from "@kvant/report";
import type { LoadComparison, MeasureComparison, Verdict } from "./compare-loads.ts";
import { markdownTable } from "./load-markdown.ts";

/** A row per level and measure; all cells are text, because units change from row to row. */
export function comparisonTable({ levels }: LoadComparison): Table {
  return {
    columns: ["load", "measure", "before", "after", "change", "95 % interval", ""].map((title) => ({ title })),
    rows: levels.flatMap(({ level, measures }) =>
      measures.map((measure) => [
        level,
        measure.measure,
        amount(measure.before, measure),
        amount(measure.after, measure),
        changeText(measure.change, measure),
        measure.interval === null
          ? "too few values"
          : `${changeText(measure.interval.low, measure)} to ${changeText(measure.interval.high, measure)}`,
        measure.verdict,
      ]),
    ),
  };
}

/** The bar and what it says, what it leaves open, what was not compared, what else differs. A sentence each. */
export function comparisonNotes(comparison: LoadComparison): readonly string[] {
  const { threshold, unmatched, unanswered, differences, levels } = comparison;
  const judged = (wanted: Verdict): readonly string[] =>
    levels.flatMap(({ level, measures }) =>
      measures.filter(({ verdict }) => verdict === wanted).map(({ measure }) => `${measure} at ${level}`),
    );
  const [worse, unclear, unknown] = [judged("worse"), judged("unclear"), judged("unknown")];
  const bar = formatNumber(threshold, "share");
  return [
    worse.length === 0
      ? `Nothing is worse by more than ${bar} with 95 % confidence.`
      : `Worse by more than ${bar} with 95 % confidence: ${worse.join(", ")}.`,
    ...(unclear.length === 0 ? [] : [`Unclear, for a longer load to tell: ${unclear.join(", ")}.`]),
    ...(unknown.length === 0 ? [] : [`Unknown, of too few values: ${unknown.join(", ")}.`]),
    ...(unanswered.length === 0 ? [] : [`Asked for, and without a verdict at any level: ${unanswered.join(", ")}.`]),
    ...(unmatched.length === 0 ? [] : [`Only in one of the results, not compared: ${unmatched.join(", ")}.`]),
    ...(differences.length === 0 ? [] : [`The runs differ in more than time. ${differences.join("; ")}.`]),
  ];
}

/** The same as Markdown. */
export function comparisonMarkdown(comparison: LoadComparison, before: string, after: string): string {
  const title = `# ${before} and ${after}`;
  return `${[title, markdownTable(comparisonTable(comparison)), ...comparisonNotes(comparison)].join("\n\n")}\n`;
}

function amount(value: number, { unit }: MeasureComparison): string {
  return unit === "tokens per second" ? `${formatNumber(value)} tok/s` : formatNumber(value, unit, 3);
}

/** Of shares in percentage points, of all else in percent of what was before. */
function changeText(change: number, { unit }: MeasureComparison): string {
  if (!Number.isFinite(change)) return "from nothing";
  const sign = change < 0 ? "" : "+";
  return `${sign}${(100 * change).toFixed(Math.abs(change) < 0.1 ? 2 : 1)} ${unit === "share" ? "points" : "%"}`;
}
