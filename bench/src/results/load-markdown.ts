import type { Fact, Table } from "@kvant/report";
import type { LoadResult } from "../load/load-result.ts";
import { failureTable, latencyTable, levelTable } from "./load-tables.ts";
import { repeatCommand } from "./repeat-command.ts";
import { cachedSentence, clientSentence, countedSentence, runFacts } from "./run-facts.ts";
import { textTable } from "./table-columns.ts";

/** A load as Markdown, for a pull request or a README: the tables of the page and the command that repeats it, no plots. */
export function loadMarkdown(result: LoadResult, title = `${result.server.model} under load`): string {
  const failures = failureTable(result);
  const parts = [
    `# ${escaped(title)}`,
    `${escaped(result.workload)}.`,
    markdownTable(levelTable(result)),
    markdownTable(latencyTable(result)),
    ...(failures.rows.length === 0 ? [] : ["## What failed", markdownTable(failures)]),
    "## The client",
    [clientSentence(result), countedSentence(result.levels), ...cachedSentence(result.levels)].join(" "),
    ...(result.warnings.length === 0 ? [] : [result.warnings.map((warning) => `- ${escaped(warning)}`).join("\n")]),
    "## The run",
    markdownFacts(runFacts(result)),
    `\`\`\`sh\n${repeatCommand(result)}\n\`\`\``,
  ];
  return `${parts.join("\n\n")}\n`;
}

/** Numbers are aligned right; the source is aligned too, so that it reads well in an editor. */
export function markdownTable(table: Table): string {
  const [header, ...rows] = textTable(table).map((row) => row.map(escaped));
  const widths = header!.map((title, i) => Math.max(3, title.length, ...rows.map((row) => row[i]!.length)));
  const isNumber = table.columns.map(({ unit }) => unit !== undefined);
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (isNumber[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join(" | ")} |`;
  const rule = widths.map((width, i) => (isNumber[i] ? `${"-".repeat(width - 1)}:` : "-".repeat(width)));
  return [line(header!), line(rule), ...rows.map(line)].join("\n");
}

export function markdownFacts(facts: readonly Fact[]): string {
  const line = ({ label, value, detail }: Fact): string =>
    `- ${label}: ${escaped(value)}${detail === undefined ? "" : ` (${escaped(detail)})`}`;
  return facts.map(line).join("\n");
}

/** What servers say may hold anything; in a table a bar or a line break would end the cell. */
export function escaped(text: string): string {
  return text.replace(/[\\`*_{}[\]<>|]/g, "\\$&").replace(/\s*[\r\n]+\s*/g, " ");
}
