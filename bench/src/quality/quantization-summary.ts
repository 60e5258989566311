import type { LinearReport, QualityReport, QuantizationReport } from "@kvant/quantizers";
import { formatNumber } from "@kvant/report";

/** A change as a signed percentage of what it changes: 0.014 is `+1.4 %`. */
export function signedShare(change: number): string {
  return `${change >= 0 ? "+" : ""}${formatNumber(change, "share")}`;
}

/** The values of a property over the linear layers, most frequent first, with their counts where there are several. */
export function commonValues(linears: readonly LinearReport[], property: (linear: LinearReport) => string): string {
  const counts = new Map<string, number>();
  for (const linear of linears) counts.set(property(linear), (counts.get(property(linear)) ?? 0) + 1);
  const ordered = [...counts].sort(([, a], [, b]) => b - a);
  if (ordered.length === 0) return "none";
  return ordered.length === 1 ? ordered[0]![0] : ordered.map(([value, count]) => `${value} (${count})`).join(", ");
}

/** The weight format of a linear layer, and the width of its codes where these lie in a wider container. */
export function storedFormat({ weightFormat, codeBits }: LinearReport): string {
  return codeBits === undefined ? weightFormat : `${weightFormat} (${codeBits}-bit codes in a wider container)`;
}

/** What quantization has done to perplexity, as a share, with its paired 95 % interval. */
export function perplexityChange({ nllDifference }: QualityReport): {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
} {
  const { mean, low, high } = nllDifference;
  return { mean: Math.expm1(mean), low: Math.expm1(low), high: Math.expm1(high) };
}

/**
 * The run in a few lines for a terminal: rows of what, original, quantized, change; the first row is the header. Quality is
 * left out where it was not measured.
 */
export function quantizationSummary(report: QuantizationReport, quality: QualityReport | undefined): string[][] {
  const { linears, kv } = report;
  const result = (what: string, quantized: string): string[] => [what, "", quantized, ""];
  return [
    ["", "original", "quantized", "change"],
    result("weights", commonValues(linears, storedFormat)),
    result(
      "activations",
      commonValues(linears, ({ activations }) => activations),
    ),
    result(
      "method",
      commonValues(linears, ({ method }) => method),
    ),
    ...(kv === null ? [] : [result("KV cache", `${kv.format}, static scale per ${kv.granularity}`)]),
    result("bits per weight", formatNumber(report.bitsPerWeight)),
    compared("size", report.bytesBefore, report.bytesAfter, "bytes"),
    ...(quality === undefined ? [] : qualityRows(quality)),
    result("time", formatNumber(report.seconds, "seconds")),
    result("peak memory", formatNumber(report.peakResidentBytes, "bytes")),
  ];
}

function qualityRows(quality: QualityReport): string[][] {
  return [
    compared("perplexity", quality.originalPerplexity, quality.quantizedPerplexity, "number"),
    ["KL divergence", "", `${formatNumber(quality.klDivergence)} nats per token`, ""],
    ["top-1 agreement", "", formatNumber(quality.top1Agreement, "share"), ""],
  ];
}

function compared(what: string, before: number, after: number, unit: "bytes" | "number"): string[] {
  return [what, formatNumber(before, unit), formatNumber(after, unit), signedShare(after / before - 1)];
}
