import { formatNumber, type Table } from "@kvant/report";
import { type Column, tableOf } from "../results/table-columns.ts";
import type { ColdMedians, ColdResult, ColdRun, StartMarks } from "./cold-result.ts";

/** How far a start has come, in the order in which it comes there, with what the stretch before it is spent on. */
export const startMarks: readonly {
  readonly name: keyof StartMarks;
  /** Of the moment. */
  readonly title: string;
  /** Of the stretch that ends there. */
  readonly stretch: string;
}[] = [
  { name: "loading", title: "code", stretch: "code" },
  { name: "loaded", title: "model", stretch: "model" },
  { name: "listening", title: "listening", stretch: "port" },
  { name: "ready", title: "ready", stretch: "ready" },
  { name: "firstToken", title: "first token", stretch: "prefill" },
  { name: "firstStep", title: "second token", stretch: "decode" },
];

const figureColumns: readonly Column<ColdRun | ColdMedians>[] = [
  ...startMarks.map(
    ({ name, title }): Column<ColdRun | ColdMedians> => ({ title, unit: "seconds", cell: ({ at }) => at[name] }),
  ),
  { title: "load", unit: "seconds", cell: ({ loadSeconds }) => loadSeconds },
  { title: "TTFT", unit: "seconds", cell: ({ firstTokenSeconds }) => firstTokenSeconds },
  { title: "first step", unit: "seconds", cell: ({ firstStepSeconds }) => firstStepSeconds },
  { title: "later step", unit: "seconds", cell: ({ laterStepSeconds }) => laterStepSeconds },
  { title: "server RSS", unit: "bytes", cell: ({ peakResidentBytes }) => peakResidentBytes?.server ?? null },
  { title: "engine RSS", unit: "bytes", cell: ({ peakResidentBytes }) => peakResidentBytes?.engine ?? null },
];

/** A row per start, in the order in which they ran. */
export function coldRunTable({ runs, files }: Pick<ColdResult, "runs" | "files">): Table {
  return tableOf<ColdRun>(runs, [
    { title: "start", cell: ({ start }) => start },
    { title: "cached", unit: "share", cell: ({ residentBytes }) => cachedShare(residentBytes, files.bytes) },
    ...figureColumns,
  ]);
}

/** A row per kind of start that has runs. */
export function coldMedianTable({ medians }: Pick<ColdResult, "medians">): Table {
  return tableOf<ColdMedians>(medians, [
    { title: "median of", cell: ({ start, runs }) => `${runs} ${start}` },
    ...figureColumns,
  ]);
}

/** Whole pages are counted, so that small files may hold more than they are long. */
function cachedShare(residentBytes: number | null, bytes: number): number | null {
  return residentBytes === null || bytes === 0 ? null : Math.min(1, residentBytes / bytes);
}

/** What was started, in one line. */
export function coldSubject({ model, promptTokens }: Pick<ColdResult, "model" | "promptTokens">): string {
  const { id, weights, activations, kvFormat, device, tier } = model;
  const formats = `${weights} weights, ${activations} activations, ${kvFormat} KV cache`;
  return `${id}, ${formats}, ${device}, ${tier}; ${promptTokens} tokens in`;
}

/** How the model's files left the page cache, as one sentence. */
export function evictionSentence({ eviction, files }: Pick<ColdResult, "eviction" | "files">): string {
  const named = `the model's ${files.count} files (${formatNumber(files.bytes, "bytes")})`;
  switch (eviction) {
    case "fadvise":
      return `Cold: ${named} were dropped from the page cache with posix_fadvise, and fincore found them gone.`;
    case "drop-caches":
      return `Cold: the whole page cache was dropped through /proc/sys/vm/drop_caches, and fincore found ${named} gone.`;
    case "none":
      return "No start was cold.";
    default:
      return eviction satisfies never;
  }
}
