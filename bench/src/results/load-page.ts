import { type Fact, formatNumber, reportPage, type Section } from "@kvant/report";
import type { LoadLevel, LoadResult } from "../load/load-result.ts";
import { latencySection } from "./latency-distributions.ts";
import { failedCount, failureTable, levelTable } from "./load-tables.ts";
import { timelineSection } from "./load-timeline.ts";
import { clientSection, runSection } from "./run-facts.ts";
import { sweepSection } from "./sweep-curves.ts";

/**
 * A load as one self-contained HTML page: how fast, how late, how both went over time, what failed, what the client itself cost,
 * and the command that repeats it.
 * @param title such as the name of an experiment
 */
export function loadPage(result: LoadResult, title = `${result.server.model} under load`): string {
  const sections = [
    result.levels.length > 1 ? sweepSection(result) : summarySection(result),
    latencySection(result),
    timelineSection(result),
    failureSection(result),
    clientSection(result),
    runSection(result),
  ];
  return reportPage({
    title,
    subtitle: result.workload,
    facts: headlines(result.levels),
    sections: sections.filter((section) => section !== undefined),
    footer: `Written by kvant ${result.software.kvant}; the load started at ${result.startedAt}.`,
  });
}

function headlines(levels: readonly LoadLevel[]): readonly Fact[] {
  const fastest = extreme(levels, (level) => level.outputTokensPerSecond);
  if (fastest === undefined) return [];
  const isSweep = levels.length > 1;
  const at = (level: LoadLevel, detail: string): string => (isSweep ? `${detail}, ${level.name}` : detail);
  const latency = (
    label: string,
    of: (level: LoadLevel) => LoadLevel["interToken"],
    percentile: "p50" | "p99" = "p50",
  ): readonly Fact[] => {
    const best = extreme(levels, (level) => -(of(level)?.[percentile] ?? Number.POSITIVE_INFINITY));
    const summary = best === undefined ? undefined : of(best);
    if (best === undefined || summary === undefined) return [];
    const value = formatNumber(summary.p50, "seconds", 3);
    return [{ label, value, detail: at(best, `median; p99 ${formatNumber(summary.p99, "seconds", 3)}`) }];
  };
  const good = extreme(levels, (level) => level.goodRequestsPerSecond ?? Number.NEGATIVE_INFINITY);
  const failed = levels.reduce((sum, level) => sum + failedCount(level), 0);
  const requests = levels.reduce((sum, level) => sum + level.requests, 0);
  return [
    {
      label: isSweep ? "Highest throughput" : "Throughput",
      value: `${formatNumber(fastest.outputTokensPerSecond, "number", 3)} tok/s`,
      detail: at(fastest, `${formatNumber(fastest.totalTokensPerSecond, "number", 3)} with the prompts'`),
    },
    ...latency(isSweep ? "Shortest time to first token" : "Time to first token", (level) => level.timeToFirstToken),
    ...latency(isSweep ? "Shortest pause between tokens" : "Between tokens", (level) => level.interToken),
    ...(good?.goodRequestsPerSecond === undefined
      ? []
      : [
          {
            label: "Goodput",
            value: `${formatNumber(good.goodRequestsPerSecond, "number", 3)} req/s`,
            detail: at(good, `${formatNumber(good.goodShare ?? 0, "share")} within the objectives`),
          },
        ]),
    {
      label: "Failed",
      value: formatNumber(failed, "count"),
      detail: `of ${formatNumber(requests, "count")} requests`,
    },
  ];
}

/** The level of the largest value; undefined where no level has one that is finite. */
function extreme(levels: readonly LoadLevel[], value: (level: LoadLevel) => number): LoadLevel | undefined {
  const finite = levels.filter((level) => Number.isFinite(value(level)));
  return finite.length === 0 ? undefined : finite.reduce((best, level) => (value(level) > value(best) ? level : best));
}

function summarySection(result: LoadResult): Section {
  return { title: "Summary", parts: [{ kind: "table", ...levelTable(result) }] };
}

function failureSection(result: LoadResult): Section {
  const table = failureTable(result);
  const requests = result.levels.reduce((sum, level) => sum + level.requests, 0);
  const nothing = `Nothing: all ${requests.toLocaleString("en")} requests ended as they should.`;
  return {
    title: "What failed",
    parts: [table.rows.length === 0 ? { kind: "paragraph", text: nothing } : { kind: "table", ...table }],
  };
}
