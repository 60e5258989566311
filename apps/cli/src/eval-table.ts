import { type EvaluatedModel, type Evaluation, milliseconds, type SchemeCost } from "@kvant/bench";
import { megabytes, table } from "./print.ts";

/** Quality of one candidate, with what it costs where that was measured. */
export type EvalRow = Evaluation & Partial<SchemeCost>;

/** Longest name of a model in a table; of a longer one the end, where versions and formats stand. */
const nameLength = 20;

interface Column {
  readonly title: string;
  readonly cell: (row: EvalRow) => string;
  /** Absent where no row has anything to say. */
  readonly isShown?: (row: EvalRow) => boolean;
}

const reach = ({ nllDifference }: EvalRow): string => {
  if (nllDifference === null) return "-";
  const { mean, high } = nllDifference;
  const sign = mean < 0 ? "" : "+";
  return `${sign}${mean.toFixed(5)} ± ${high === null ? "?" : (high - mean).toFixed(5)}`;
};

const qualityColumns: readonly Column[] = [
  { title: "bits/w", cell: (row) => row.bitsPerWeight.toFixed(2) },
  { title: "weights held", cell: (row) => megabytes(row.weightBytes) },
  { title: "perplexity", cell: (row) => row.perplexity.toFixed(4) },
  {
    title: "bits/byte",
    cell: (row) => row.bitsPerByte?.toFixed(4) ?? "-",
    isShown: (row) => row.bitsPerByte !== null,
  },
  {
    title: "KL vs bf16 KV",
    cell: (row) => row.klVsBf16Kv?.toExponential(2) ?? "-",
    isShown: (row) => row.reference === null,
  },
  {
    title: "KL",
    cell: (row) => row.klVsReference?.toExponential(2) ?? "-",
    isShown: (row) => row.reference !== null,
  },
  {
    title: "top-1 %",
    cell: (row) => row.top1Agreement?.toFixed(2) ?? "-",
    isShown: (row) => row.reference !== null,
  },
  { title: "difference", cell: reach, isShown: (row) => row.reference !== null },
  { title: "seconds", cell: (row) => row.seconds.toFixed(1), isShown: (row) => row.reference === null },
];

const costColumns: readonly Column[] = [
  { title: "KV B/token", cell: (row) => row.kvBytesPerToken.toFixed(0) },
  { title: "peak RSS", cell: (row) => (row.peakResidentBytes === undefined ? "-" : megabytes(row.peakResidentBytes)) },
  { title: "prefill tok/s", cell: (row) => row.prefillTokensPerSecond?.toFixed(0) ?? "-" },
  { title: "decode tok/s", cell: (row) => row.decodeTokensPerSecond?.toFixed(1) ?? "-" },
  { title: "cold ms", cell: (row) => latency(row.coldFirstTokenSeconds) },
  { title: "warm ms", cell: (row) => latency(row.warmFirstTokenSeconds) },
];

/** What each candidate loses, under lines that say on which text and against what. */
export function qualityTable(rows: readonly EvalRow[]): string {
  const [first] = rows;
  if (first === undefined) return "";
  const size = `${first.tokens} tokens in ${first.windows} ${first.windows === 1 ? "window" : "windows"}`;
  const { reference } = first;
  const lines =
    reference === null
      ? [size]
      : [
          `${size} against ${schemeName(reference)}, whose perplexity is ${reference.perplexity.toFixed(4)};`,
          "KL divergence from it, and difference to its -log p with the 95 % interval, in nats per token",
        ];
  return [...lines, tableOf(rows, qualityColumns)].join("\n");
}

/** What each candidate costs, in the same order. */
export function costTable(rows: readonly EvalRow[]): string {
  const [first] = rows;
  if (first === undefined) return "";
  const where = `${first.backend} ${first.tier}, one sequence, prompts of ${first.promptTokens ?? "-"} tokens`;
  return `${where}; first token cold (from the start of loading) and warm\n${tableOf(rows, costColumns)}`;
}

function schemeName({ model, weights, activations, kvFormat }: EvaluatedModel): string {
  return `${shortened(model)} ${weights} x ${activations} x ${kvFormat} KV`;
}

function tableOf(rows: readonly EvalRow[], columns: readonly Column[]): string {
  const labels: readonly Column[] = [
    ...(new Set(rows.map(({ model }) => model)).size > 1
      ? [{ title: "model", cell: ({ model }: EvalRow) => shortened(model) }]
      : []),
    { title: "weights", cell: (row) => row.weights },
    { title: "activations", cell: (row) => row.activations },
    { title: "KV", cell: (row) => row.kvFormat },
  ];
  const shown = [...labels, ...columns].filter(({ isShown }) => isShown === undefined || rows.some(isShown));
  return table(
    shown.map(({ title }) => title),
    rows.map((row) => shown.map(({ cell }) => cell(row))),
  );
}

function shortened(name: string): string {
  return name.length <= nameLength ? name : `…${name.slice(1 - nameLength)}`;
}

function latency(seconds: number | undefined): string {
  return seconds === undefined ? "-" : milliseconds(seconds);
}
