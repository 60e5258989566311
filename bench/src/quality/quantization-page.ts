import type { KeptTensor, LinearReport, QualityReport, QuantizationReport } from "@kvant/quantizers";
import { type Fact, formatNumber, type LineSeries, type Part, reportPage, type Section } from "@kvant/report";
import { median } from "../median.ts";
import { layerErrorSection, linearTable, roundToNearestSection, saturationSection } from "./layer-errors.ts";
import {
  commonValues,
  perplexityChange,
  quantizationSummary,
  signedShare,
  storedFormat,
} from "./quantization-summary.ts";
import { distributionSection, scaleSection } from "./value-distributions.ts";

export { quantizationSummary } from "./quantization-summary.ts";

/** A longer table of linear layers is folded away. */
const shownTableRows = 40;

/**
 * The report of a quantization run as one self-contained HTML page: what was lost, layer by layer, and what it bought.
 * @param quality undefined where nobody has measured it; the page then says so
 */
export function quantizationPage(report: QuantizationReport, quality: QualityReport | undefined): string {
  const { linears } = report;
  const sections = [
    summarySection(report, quality),
    ...(linears.length === 0 ? [] : [layerErrorSection(linears), roundToNearestSection(linears), tableSection(report)]),
    ...(linears.length === 0 ? [] : [distributionSection(linears), scaleSection(linears), saturationSection(linears)]),
    kvSection(report.kv),
    keptSection(report.kept),
    inputSection(report),
    notesSection(report),
  ];
  return reportPage({
    title: `${report.model}, quantized`,
    subtitle: schemeText(linears),
    facts: headlines(report, quality),
    sections: sections.filter((section) => section !== undefined),
  });
}

function schemeText(linears: readonly LinearReport[]): string {
  if (linears.length === 0) return "No linear layer was quantized";
  const methods = commonValues(linears, ({ method }) => method);
  const activations = commonValues(linears, ({ activations }) => activations);
  return `${commonValues(linears, storedFormat)} weights by ${methods}, activations ${activations}`;
}

function headlines(report: QuantizationReport, quality: QualityReport | undefined): readonly Fact[] {
  const { bytesBefore, bytesAfter, bitsPerWeight, seconds, peakResidentBytes } = report;
  return [
    {
      ...{ label: "Size", value: formatNumber(bytesAfter, "bytes") },
      detail: `${formatNumber(bytesBefore, "bytes")} before, ${signedShare(bytesAfter / bytesBefore - 1)}`,
    },
    {
      label: "Bits per weight",
      value: formatNumber(bitsPerWeight, "number", 3),
      detail: "scales and zero points included",
    },
    ...(quality === undefined ? [] : qualityHeadlines(quality)),
    {
      ...{ label: "Time", value: formatNumber(seconds, "seconds") },
      detail: `${formatNumber(peakResidentBytes, "bytes")} of memory at most`,
    },
  ];
}

function qualityHeadlines(quality: QualityReport): readonly Fact[] {
  const { originalPerplexity, quantizedPerplexity, klDivergence, top1Agreement } = quality;
  return [
    {
      ...{ label: "Perplexity", value: formatNumber(quantizedPerplexity) },
      detail: `${formatNumber(originalPerplexity)} before, ${signedShare(quantizedPerplexity / originalPerplexity - 1)}`,
    },
    {
      ...{ label: "KL divergence", value: `${formatNumber(klDivergence, "number", 3)} nats` },
      detail: `${formatNumber(top1Agreement, "share")} same first choice`,
    },
  ];
}

function summarySection(report: QuantizationReport, quality: QualityReport | undefined): Section {
  const [header, ...rows] = quantizationSummary(report, quality);
  return {
    title: "Summary",
    parts: [
      { kind: "paragraph", text: quality === undefined ? qualityMissing : qualityText(quality) },
      { kind: "table", columns: header!.map((title) => ({ title })), rows },
    ],
  };
}

const qualityMissing =
  "Quality of the whole model was not measured in this run. kvant eval compares the two on a text.";

function qualityText(quality: QualityReport): string {
  const { mean, low, high } = perplexityChange(quality);
  const verdict =
    low <= 0 && high >= 0
      ? "The interval holds 0: this text does not tell the two models apart."
      : `The quantized model is ${mean > 0 ? "worse" : "better"} on this text beyond what chance explains.`;
  return [
    `On ${quality.text} (${quality.tokens.toLocaleString("en")} tokens) quantization changes perplexity by ${signedShare(mean)},`,
    `with a paired 95 % interval from ${signedShare(low)} to ${signedShare(high)}. ${verdict}`,
  ].join(" ");
}

function tableSection({ linears }: QuantizationReport): Section {
  const table = linearTable(linears);
  const summary = `All ${linears.length} linear layers, sorted by a click on a column's head`;
  const parts: readonly Part[] =
    linears.length <= shownTableRows ? [table] : [{ kind: "details", summary, parts: [table] }];
  return { title: "Every linear layer", parts };
}

function kvSection(kv: QuantizationReport["kv"]): Section | undefined {
  if (kv === null) return undefined;
  const heads = Math.max(0, ...kv.layers.flatMap(({ k, v }) => [k.length, v.length]));
  const x = kv.layers.map(({ layer }) => layer);
  const series = (name: string, scales: readonly (readonly number[])[]): LineSeries => ({
    ...{ name, x, y: scales.map(median) },
    ...(heads > 1 && {
      band: { low: scales.map((values) => Math.min(...values)), high: scales.map((values) => Math.max(...values)) },
    }),
  });
  const columns = Array.from(
    { length: heads },
    (_, head) => ({ title: heads > 1 ? `head ${head}` : "scale", unit: "number" }) as const,
  );
  return {
    title: "KV cache scales",
    parts: [
      {
        ...{ kind: "figure", title: `Static ${kv.format} scales, one per layer and ${kv.granularity}` },
        caption:
          heads > 1 ? "The line is the median over the heads, the band reaches from the smallest to the largest." : "",
        plot: {
          ...{ kind: "lines", x: { label: "layer", unit: "count" }, y: { label: "scale", scale: "log" } },
          series: [
            series(
              "K",
              kv.layers.map(({ k }) => k),
            ),
            series(
              "V",
              kv.layers.map(({ v }) => v),
            ),
          ],
        },
      },
      {
        ...{ kind: "details", summary: "Every scale" },
        parts: [
          {
            ...{ kind: "table", columns: [{ title: "layer", unit: "count" }, { title: "of" }, ...columns] },
            rows: kv.layers.flatMap(({ layer, k, v }) => [
              [layer, "K", ...k],
              [layer, "V", ...v],
            ]),
          },
        ],
      },
    ],
  };
}

/** Tensors of one kind over all layers are one row. */
function keptSection(kept: readonly KeptTensor[]): Section {
  const groups = new Map<
    string,
    { readonly first: KeptTensor; readonly pattern: string; count: number; bytes: number }
  >();
  for (const tensor of kept) {
    const pattern = tensor.name.replace(/(^|\.)\d+(?=\.)/g, "$1*");
    const key = [pattern, tensor.format, tensor.reason].join("\n");
    const group = groups.get(key) ?? { first: tensor, pattern, count: 0, bytes: 0 };
    group.count++;
    group.bytes += tensor.bytes;
    groups.set(key, group);
  }
  const rows = [...groups.values()]
    .sort((a, b) => b.bytes - a.bytes)
    .map(({ first, pattern, count, bytes }) => [
      count === 1 ? first.name : pattern,
      count,
      first.format,
      bytes,
      first.reason,
    ]);
  const columns = [
    { title: "tensor" },
    { title: "count", unit: "count" },
    { title: "format" },
    { title: "size", unit: "bytes" },
    { title: "reason" },
  ] as const;
  const title = "What stayed as it was, and why";
  if (rows.length === 0) return { title, parts: [{ kind: "paragraph", text: "Nothing." }] };
  return { title, parts: [{ kind: "table", columns, rows }] };
}

function inputSection({ calibration, arithmetic, recipe }: QuantizationReport): Section {
  const facts =
    calibration === null
      ? []
      : [
          { label: "Texts", value: calibration.files.join(", ") },
          { label: "Samples", value: `${calibration.sampleCount} of ${calibration.sampleTokens} tokens` },
          { label: "Seed", value: String(calibration.seed) },
          ...(arithmetic === undefined
            ? []
            : [
                { label: "Layers ran in", value: arithmetic.layers },
                { label: "Methods computed in", value: arithmetic.methods },
              ]),
        ];
  const recipeText = JSON.stringify(recipe, null, 2) as string | undefined;
  return {
    title: "Calibration and recipe",
    parts: [
      calibration === null
        ? { kind: "paragraph", text: "The run took no calibration text." }
        : { kind: "facts", facts },
      ...(recipeText === undefined ? [] : [{ kind: "code", text: recipeText } as const]),
    ],
  };
}

/** Equal notes are told once. */
function notesSection({ linears }: QuantizationReport): Section | undefined {
  const names = new Map<string, string[]>();
  for (const { name, notes } of linears) for (const note of notes) names.set(note, [...(names.get(note) ?? []), name]);
  if (names.size === 0) return undefined;
  const items = [...names].map(([note, [first, ...others]]) =>
    others.length === 0 ? `${first}: ${note}` : `${first} and ${others.length} more: ${note}`,
  );
  return { title: "Notes", parts: [{ kind: "list", items }] };
}
