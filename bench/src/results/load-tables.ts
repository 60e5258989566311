import type { Cell, Table } from "@kvant/report";
import type { LatencySummary, LoadLevel, LoadResult } from "../load/load-result.ts";
import { type Column, tableOf } from "./table-columns.ts";

/** Latencies of a level in the order in which a request meets them, with what they are called on paper. */
export const latencyMeasures = [
  { name: "time to first token", short: "TTFT", of: (level: LoadLevel) => level.timeToFirstToken },
  { name: "between tokens", short: "ITL", of: (level: LoadLevel) => level.interToken },
  { name: "time per output token", short: "TPOT", of: (level: LoadLevel) => level.timePerOutputToken },
  { name: "end to end", short: "e2e", of: (level: LoadLevel) => level.endToEnd },
  { name: "in the server's queue", short: "queue", of: (level: LoadLevel) => level.serverQueue },
  { name: "late by the client", short: "late", of: (level: LoadLevel) => level.sendDelay },
] as const;

function latencyColumn(short: "TTFT" | "ITL" | "e2e", percentile: "p50" | "p99"): Column<LoadLevel> {
  const { of } = latencyMeasures.find((measure) => measure.short === short)!;
  return { title: `${short} ${percentile}`, unit: "seconds", cell: (level) => of(level)?.[percentile] ?? null };
}

export function failedCount({ failures }: LoadLevel): number {
  return Object.values(failures).reduce((sum, count) => sum + count, 0);
}

/** Of the tokens in, those that the server found in its prefix cache; null where it does not tell. */
function cachedShare({ cachedTokens, promptTokens }: LoadLevel): number | null {
  if (cachedTokens === undefined) return null;
  return promptTokens === 0 ? 0 : cachedTokens / promptTokens;
}

const levelColumns: readonly Column<LoadLevel>[] = [
  { title: "load", cell: ({ name }) => name },
  { title: "completed", unit: "count", cell: ({ completed }) => completed },
  { title: "failed", unit: "count", cell: failedCount },
  { title: "req/s", unit: "number", cell: (level) => level.requestsCompletedPerSecond },
  { title: "out tok/s", unit: "number", cell: (level) => level.outputTokensPerSecond },
  { title: "all tok/s", unit: "number", cell: (level) => level.totalTokensPerSecond },
  { title: "cached", unit: "share", cell: cachedShare },
  latencyColumn("TTFT", "p50"),
  latencyColumn("TTFT", "p99"),
  latencyColumn("ITL", "p50"),
  latencyColumn("ITL", "p99"),
  latencyColumn("e2e", "p50"),
  latencyColumn("e2e", "p99"),
  { title: "good req/s", unit: "number", cell: (level) => level.goodRequestsPerSecond ?? null },
  { title: "good", unit: "share", cell: (level) => level.goodShare ?? null },
];

/** A row per level: what was asked, what came, how fast. */
export function levelTable({ levels }: LoadResult): Table {
  return tableOf(levels, levelColumns);
}

interface LatencyRow {
  readonly level: string;
  readonly measure: string;
  readonly summary: LatencySummary;
}

function latencyRows(levels: readonly LoadLevel[]): readonly LatencyRow[] {
  return levels.flatMap((level) =>
    latencyMeasures.flatMap(({ name, of }) => {
      const summary = of(level);
      return summary === undefined || summary.count === 0 ? [] : [{ level: level.name, measure: name, summary }];
    }),
  );
}

const latencyColumns: readonly Column<LatencyRow>[] = [
  { title: "latency", cell: ({ measure }) => measure },
  { title: "values", unit: "count", cell: ({ summary }) => summary.count },
  ...(
    [
      ["mean", "mean"],
      ["p50", "p50"],
      ["p90", "p90"],
      ["p95", "p95"],
      ["p99", "p99"],
      ["p999", "p99.9"],
      ["max", "max"],
    ] as const
  ).map(([field, title]): Column<LatencyRow> => ({ title, unit: "seconds", cell: ({ summary }) => summary[field] })),
];

/** A row per level and latency, from mean to maximum; the level's name stands in front where there are several. */
export function latencyTable({ levels }: Pick<LoadResult, "levels">): Table {
  const named: Column<LatencyRow> = { title: "load", cell: ({ level }) => level };
  return tableOf(latencyRows(levels), levels.length > 1 ? [named, ...latencyColumns] : latencyColumns);
}

/** Failures of all levels by kind, most frequent first, each with a sentence of the server or the socket. */
export function failureTable({ levels }: LoadResult): Table {
  const rows = levels.flatMap((level) =>
    Object.entries(level.failures).map(([kind, count]): readonly Cell[] => [
      ...(levels.length > 1 ? [level.name] : []),
      kind,
      count,
      count / level.requests,
      level.failureExamples[kind as keyof LoadLevel["failures"]] ?? "",
    ]),
  );
  const countAt = levels.length > 1 ? 2 : 1;
  return {
    columns: [
      ...(levels.length > 1 ? [{ title: "load" }] : []),
      { title: "failure" },
      { title: "requests", unit: "count" },
      { title: "of all", unit: "share" },
      { title: "for example" },
    ],
    rows: rows.sort((a, b) => (b[countAt] as number) - (a[countAt] as number)),
  };
}
