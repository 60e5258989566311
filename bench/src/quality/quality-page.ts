import {
  type Figure,
  formatNumber,
  type Part,
  reportPage,
  type ScatterPlot,
  type Section,
  type Table,
} from "@kvant/report";
import type { QualityRow } from "./measure-quality.ts";
import type { QualityFailure, QualityResult } from "./quality-result.ts";
import { signedShare } from "./quantization-summary.ts";

/**
 * What each scheme keeps and costs as one self-contained page: the Pareto front of perplexity against bytes and, where speed was
 * measured, against tokens per second; then the table, and what theory promises of it.
 */
export function qualityPage(result: QualityResult): string {
  const { rows, failures = [], model, machine, software, startedAt, flags } = result;
  const [first] = rows;
  return reportPage({
    title: `Quality of ${model}, quantized`,
    subtitle:
      first === undefined
        ? "No scheme was measured"
        : `${first.tokens.toLocaleString("en")} tokens of ${flags.text} in ${first.windows} windows, against BF16 weights`,
    sections: [
      ...(first === undefined ? [] : [paretoSection(rows), tableSection(rows)]),
      ...(failures.length === 0 ? [] : [failureSection(failures)]),
      ...(result.claims.length === 0 ? [] : [claimSection(result)]),
      {
        title: "The run",
        parts: [
          {
            kind: "facts",
            facts: [
              { label: "Machine", value: machine.cpu, detail: `${machine.cores} cores, ${machine.platform}` },
              ...(machine.accelerators.length === 0
                ? []
                : [{ label: "Accelerators", value: machine.accelerators.join(", ") }]),
              { label: "Software", value: `kvant ${software.kvant}`, detail: `Node ${software.node}` },
              { label: "Started", value: startedAt },
            ],
          },
          { kind: "code", text: JSON.stringify(flags, undefined, 1) },
        ],
      },
    ],
  });
}

const methods = [
  { name: "float", of: ({ scheme }: QualityRow) => !/[-/]|fp4$/.test(scheme) },
  { name: "awq", of: ({ scheme }: QualityRow) => scheme.includes("/awq") },
  { name: "gptq", of: ({ scheme }: QualityRow) => scheme.includes("/gptq") },
  { name: "smoothquant", of: ({ scheme }: QualityRow) => scheme.includes("/smoothquant") },
  { name: "round to nearest", of: ({ scheme }: QualityRow) => !scheme.includes("/") },
] as const;

/** Each row belongs to the first of `methods` that claims it. */
function seriesOf(rows: readonly QualityRow[], x: (row: QualityRow) => number | undefined): ScatterPlot["series"] {
  const left = new Set(rows);
  return methods.flatMap(({ name, of }) => {
    const points = [...left].filter(of).flatMap((row) => {
      left.delete(row);
      const at = x(row);
      return at === undefined ? [] : [{ x: at, y: row.perplexity, label: row.scheme }];
    });
    return points.length === 0 ? [] : [{ name, points, muted: name === "float" }];
  });
}

function paretoSection(rows: readonly QualityRow[]): Section {
  const perplexity = { label: "perplexity (lower is better)", scale: "log" } as const;
  const figures: readonly Figure[] = [
    {
      title: "Perplexity against bytes",
      caption:
        "Weights as they are held in memory, scales, embedding and head included. The line joins what nothing beats.",
      plot: {
        kind: "scatter",
        x: { label: "weights held", unit: "bytes" },
        y: perplexity,
        series: seriesOf(rows, ({ weightBytes }) => weightBytes),
        better: { x: "low", y: "low" },
      },
    },
    ...(rows.some(({ cost }) => cost !== null)
      ? [
          {
            title: "Perplexity against speed",
            caption: "Decode of one sequence.",
            plot: {
              kind: "scatter",
              x: { label: "tokens per second" },
              y: perplexity,
              series: seriesOf(rows, ({ cost }) => cost?.decodeTokensPerSecond),
              better: { x: "high", y: "low" },
            } as const,
          },
        ]
      : []),
  ];
  return { title: "What nothing beats", parts: figures.map((figure): Part => ({ kind: "figure", ...figure })) };
}

function tableSection(rows: readonly QualityRow[]): Section {
  const caption =
    "Difference of perplexity to BF16 with its paired 95 % interval over windows; KL divergence from BF16 in nats per token.";
  return { title: "Every scheme", parts: [{ kind: "table", caption, ...qualityTable(rows) }] };
}

/** Columns of cost are there where it was measured. */
export function qualityTable(rows: readonly QualityRow[]): Table {
  const hasCost = rows.some(({ cost }) => cost !== null);
  return {
    columns: [
      { title: "scheme" },
      { title: "bits per weight", unit: "number" },
      { title: "weights held", unit: "bytes" },
      { title: "perplexity", unit: "number" },
      { title: "change" },
      { title: "95 % interval" },
      { title: "KL", unit: "number" },
      { title: "top-1", unit: "share" },
      ...(hasCost
        ? ([
            { title: "prefill tok/s", unit: "number" },
            { title: "decode tok/s", unit: "number" },
            { title: "cold first token", unit: "seconds" },
            { title: "warm first token", unit: "seconds" },
            { title: "peak RSS", unit: "bytes" },
          ] as const)
        : []),
    ],
    rows: rows.map((row) => [
      row.scheme,
      row.bitsPerWeight,
      row.weightBytes,
      row.perplexity,
      ...changeCells(row),
      row.klVsReference,
      row.top1Agreement === null ? null : row.top1Agreement / 100,
      ...(hasCost ? costCells(row) : []),
    ]),
  };
}

function changeCells({ nllDifference }: QualityRow): readonly (string | null)[] {
  if (nllDifference === null) return [null, null];
  const { mean, low, high } = nllDifference;
  const share = (nats: number) => signedShare(Math.expm1(nats));
  return [share(mean), low === null || high === null ? null : `${share(low)} to ${share(high)}`];
}

function costCells({ cost }: QualityRow): readonly (number | null)[] {
  if (cost === null) return [null, null, null, null, null];
  const { prefillTokensPerSecond, decodeTokensPerSecond, coldFirstTokenSeconds, warmFirstTokenSeconds } = cost;
  const speed = [prefillTokensPerSecond, decodeTokensPerSecond, coldFirstTokenSeconds, warmFirstTokenSeconds];
  return [...speed, cost.peakResidentBytes];
}

function claimSection({ claims }: QualityResult): Section {
  const rows = claims.map(({ claim, holds, measured }) => [holds ? "holds" : "does not hold", claim, measured]);
  return {
    title: "What theory and papers promise",
    parts: [{ kind: "table", columns: [{ title: "" }, { title: "claim" }, { title: "measured" }], rows }],
  };
}

function failureSection(failures: readonly QualityFailure[]): Section {
  const rows = failures.map(({ scheme, reason }) => [scheme, reason]);
  return {
    title: "Schemes that failed",
    parts: [{ kind: "table", columns: [{ title: "scheme" }, { title: "because" }], rows }],
  };
}

/** The table, what failed and the claims as Markdown, for a README. */
export function qualityMarkdown({
  rows,
  failures = [],
  claims,
  flags,
}: Pick<QualityResult, "rows" | "failures" | "claims" | "flags">): string {
  const [first] = rows;
  if (first === undefined) return "";
  const { columns, rows: cells } = qualityTable(rows);
  const line = (texts: readonly string[]) => `| ${texts.join(" | ")} |`;
  const text = (cell: string | number | null, column: number) =>
    typeof cell === "number" ? formatNumber(cell, columns[column]!.unit ?? "number") : (cell ?? "-");
  return [
    `${first.tokens.toLocaleString("en")} tokens of ${flags.text} in ${first.windows} windows, beside the same weights in BF16.`,
    "",
    line(columns.map(({ title }) => title)),
    line(columns.map(({ unit }) => (unit === undefined ? "---" : "---:"))),
    ...cells.map((row) => line(row.map(text))),
    ...(failures.length === 0 ? [] : [""]),
    ...failures.map(({ scheme, reason }) => `- **${scheme} failed:** ${reason}`),
    ...(claims.length === 0 ? [] : [""]),
    ...claims.map(({ claim, holds, measured }) => `- ${holds ? "" : "**not kept:** "}${claim}: ${measured}`),
    "",
  ].join("\n");
}
