import { type Fact, type Figure, formatNumber, type Part, reportPage, type Section } from "@kvant/report";
import { commandLine, flagWords } from "../results/repeat-command.ts";
import { machineFacts } from "../results/run-facts.ts";
import type { ColdMedians, ColdResult, StartKind } from "./cold-result.ts";
import { coldMedianTable, coldRunTable, coldSubject, evictionSentence, startMarks } from "./cold-table.ts";

/**
 * Cold and warm starts as one self-contained HTML page: where the time goes, how the starts differ among themselves, each start
 * by itself, and the command that repeats them.
 */
export function coldPage(result: ColdResult): string {
  const { medians, runs, warnings, software, startedAt } = result;
  return reportPage({
    title: `${result.model.id} from its start to the first tokens`,
    subtitle: coldSubject(result),
    facts: medians.flatMap(headlines),
    sections: [
      medianSection(result),
      {
        title: "Every start",
        parts: [
          { kind: "figure", ...spreadFigure(runs) },
          { kind: "table", ...coldRunTable(result) },
          ...doubts(warnings),
        ],
      },
      {
        title: "The run",
        parts: [
          { kind: "paragraph", text: evictionSentence(result) },
          { kind: "facts", facts: coldFacts(result) },
          { kind: "code", text: coldCommand(result) },
        ],
      },
    ],
    footer: `Written by kvant ${software.kvant}; the first start was at ${startedAt}.`,
  });
}

/** Labels and values, the same for page and Markdown. */
export function coldFacts(result: ColdResult): readonly Fact[] {
  const { files, serveArgs } = result;
  return [
    { label: "Server", value: commandLine(["kvant", "serve", ...serveArgs]) },
    { label: "Files", value: String(files.count), detail: formatNumber(files.bytes, "bytes") },
    ...machineFacts(result),
  ];
}

/** The command line that repeats the starts. */
export function coldCommand({ flags }: Pick<ColdResult, "flags">): string {
  const { model, ...own } = flags;
  return commandLine(["kvant", "bench", "cold", ...(model === undefined ? [] : [String(model)]), ...flagWords(own)]);
}

function headlines({ start, runs, at, firstTokenSeconds }: ColdMedians): readonly Fact[] {
  const detail = `median of ${runs} ${start} ${runs === 1 ? "start" : "starts"}`;
  return [
    { label: `Ready, ${start}`, value: formatNumber(at.ready, "seconds", 3), detail },
    {
      label: `First token, ${start}`,
      value: formatNumber(at.firstToken, "seconds", 3),
      detail: `${formatNumber(firstTokenSeconds, "seconds", 3)} after it was asked for`,
    },
  ];
}

function medianSection(result: ColdResult): Section {
  const { medians } = result;
  const figures: readonly Figure[] = [
    {
      title: "From the start of the process to the second token",
      caption:
        "Medians of the stretches, one after the other: code and model load, the port opens, the server is ready, the first request's " +
        "prefill, its first decode step.",
      plot: {
        kind: "bars",
        categories: startMarks.map(({ stretch }) => stretch),
        y: { label: "time", unit: "seconds", low: 0 },
        series: medians.map(({ start, at }) => ({
          name: start,
          values: stretches(at),
          muted: isBaseline(start, medians),
        })),
      },
    },
    {
      title: "A decode step",
      caption:
        "Medians by the engine's clock: the first one sets up what is lazy, the later ones are of a second request.",
      plot: {
        kind: "bars",
        categories: ["first", "later"],
        y: { label: "time", unit: "seconds", low: 0 },
        series: medians.map(({ start, firstStepSeconds, laterStepSeconds }) => ({
          name: start,
          values: [firstStepSeconds, laterStepSeconds],
          muted: isBaseline(start, medians),
        })),
      },
    },
  ];
  return {
    title: "Where the time goes",
    parts: [
      ...figures.map((figure): Part => ({ kind: "figure", ...figure })),
      { kind: "table", ...coldMedianTable(result) },
    ],
  };
}

/** Warm starts are what cold ones are held against. */
function isBaseline(start: StartKind, medians: readonly ColdMedians[]): boolean {
  return start === "warm" && medians.length > 1;
}

function stretches(at: ColdMedians["at"]): readonly number[] {
  return startMarks.map(({ name }, i) => at[name] - (i === 0 ? 0 : at[startMarks[i - 1]!.name]));
}

function spreadFigure(runs: ColdResult["runs"]): Figure {
  const kinds = (["cold", "warm"] as const).filter((kind) => runs.some(({ start }) => start === kind));
  return {
    title: "To the first token",
    caption: "From the start of the process. Cold and warm starts took turns.",
    plot: {
      kind: "scatter",
      x: { label: "start", unit: "count", low: 0 },
      y: { label: "time to the first token", unit: "seconds", low: 0 },
      series: kinds.map((kind) => ({
        name: kind,
        points: runs.flatMap(({ start, at }, i) => (start === kind ? [{ x: i + 1, y: at.firstToken }] : [])),
        muted: kind === "warm" && kinds.length > 1,
      })),
    },
  };
}

function doubts(warnings: readonly string[]): readonly Part[] {
  return warnings.length === 0 ? [] : [{ kind: "list", items: warnings }];
}
