import type { QuantizationReport } from "@kvant/quantizers";
import { expect, test } from "vitest";
import { quantizationPage, quantizationSummary } from "./quantization-page.ts";
import { sampleQuality, sampleQuantizationReport } from "./testing/sample-quantization-report.ts";

const report = sampleQuantizationReport();
const html = quantizationPage(report, sampleQuality);

test("the summary has a row per figure under its header, and leaves out what was not measured", () => {
  const [header, ...rows] = quantizationSummary(report, sampleQuality);
  expect(header).toEqual(["", "original", "quantized", "change"]);
  expect(rows).toContainEqual(["weights", "", "int4-g128", ""]);
  expect(rows).toContainEqual(["perplexity", "8.102", "8.215", "+1.4 %"]);
  expect(rows).toContainEqual(["KL divergence", "", "0.01873 nats per token", ""]);
  expect(rows).toContainEqual(["peak memory", "", "812 MB", ""]);
  for (const row of rows) expect(row).toHaveLength(4);
  const names = quantizationSummary(report, undefined).map(([name]) => name);
  expect(names).toContain("bits per weight");
  expect(names).not.toContain("perplexity");
});

test("mixed formats are counted, and codes in a wider container named", () => {
  const [first, ...others] = report.linears;
  const mixed = { ...report, linears: [{ ...first!, weightFormat: "int3-g128", codeBits: 3 }, ...others] };
  expect(quantizationSummary(mixed, undefined)[1]![2]).toBe(
    `int4-g128 (${others.length}), int3-g128 (3-bit codes in a wider container) (1)`,
  );
});

test("the page says what quantization cost, with its interval", () => {
  expect(html.includes("changes perplexity by +1.4 %, with a paired 95 % interval from +1.13 % to +1.67 %")).toBe(true);
  expect(html.includes("beyond what chance explains")).toBe(true);
  const nllDifference = { mean: 0.001, low: -0.002, high: 0.004 };
  const open = quantizationPage(report, { ...sampleQuality, nllDifference });
  expect(open.includes("does not tell the two models apart")).toBe(true);
  expect(quantizationPage(report, undefined).includes("was not measured in this run")).toBe(true);
});

test("the page loads nothing and names every linear layer, every kept tensor with its reason, and every note", () => {
  expect(html.match(/https?:\/\/.{0,40}/g)).toBeNull();
  for (const { name, notes } of report.linears) {
    expect(html.includes(`<td class="short">${name}</td>`), name).toBe(true);
    for (const note of notes) expect(html.includes(note), note).toBe(true);
  }
  for (const { reason } of report.kept) expect(html.includes(reason), reason).toBe(true);
  expect(html.includes("model.layers.*.input_layernorm.weight")).toBe(true);
});

test("histograms of the worst linear layer hold its counts, as shares", () => {
  const [worst] = [...report.linears].sort((a, b) => b.outputRelativeError! - a.outputRelativeError!);
  const drawings = [...html.matchAll(/<script type="application\/json" class="drawing">(.*)<\/script>/g)];
  const title = `${worst!.name}, int4-g128`;
  const figure = [...html.matchAll(/<h3 [^>]*>([^<]*)<\/h3>/g)].findIndex(([, text]) => text === title);
  const [before, after] = JSON.parse(drawings[figure]![1]!).panels[0].traces;
  for (const [trace, histogram] of [
    [before, worst!.weightsBefore],
    [after, worst!.weightsAfter],
  ] as const) {
    const all = histogram.counts.reduce((sum, count) => sum + count, 0);
    expect(trace.x).toHaveLength(histogram.counts.length + 1);
    for (const [bin, count] of histogram.counts.entries()) expect(trace.y[bin]).toBeCloseTo(count / all, 6);
  }
});

test("without calibration, KV scales or notes their sections are left out", () => {
  const bare: QuantizationReport = {
    ...report,
    calibration: null,
    kv: null,
    linears: report.linears.map((linear) => ({
      ...linear,
      ...{
        outputRelativeError: null,
        roundToNearestOutputError: null,
        activationsBefore: null,
        activationsAfter: null,
      },
      notes: [],
    })),
  };
  const titles = [...quantizationPage(bare, undefined).matchAll(/<h2>([^<]*)<\/h2>/g)].map(([, title]) => title);
  expect(titles).toEqual([
    "Summary",
    "Error per layer",
    "Every linear layer",
    "Weights and activations before and after",
    "Scales",
    "Saturation",
    "What stayed as it was, and why",
    "Calibration and recipe",
  ]);
});

test("a model of which nothing was quantized has a page too", () => {
  const page = quantizationPage({ ...report, linears: [], kv: null }, undefined);
  expect(page.includes("No linear layer was quantized")).toBe(true);
});

// A megabyte opens at once and can be sent by mail; an 8B model has 32 layers of seven linears.
const mostBytes = 1_000_000;

test("the page of a large model stays under a megabyte, because only the worst layers bring their histograms", () => {
  const large = quantizationPage(sampleQuantizationReport({ layerCount: 32 }), sampleQuality);
  expect(Buffer.byteLength(large)).toBeLessThan(mostBytes);
});

test("a report that was written as JSON and read back makes the same page", () => {
  const read = JSON.parse(JSON.stringify(report)) as QuantizationReport;
  expect(quantizationPage(read, sampleQuality) === html).toBe(true);
});

test("an SQNR without noise, infinite here and null in JSON, is a dash or infinite and never a broken plot", () => {
  const [first, ...others] = report.linears;
  const exact = { ...first!, weight: { ...first!.weight, relativeError: 0, sqnrDecibels: Number.POSITIVE_INFINITY } };
  const lossless = { ...report, linears: [exact, ...others] };
  expect(quantizationPage(lossless, undefined).includes("One value is not drawn")).toBe(true);
  const read = JSON.parse(JSON.stringify(lossless)) as QuantizationReport;
  expect(quantizationPage(read, undefined).includes("Signal to quantization noise")).toBe(true);
});
