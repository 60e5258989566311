import type { ReportPage } from "../page-parts.ts";
import { cumulative } from "../plots/cumulative.ts";

/** A page with every kind of part and plot. */
export function samplePage(): ReportPage {
  const steps = Array.from({ length: 120 }, (_, i) => i);
  const wave = (phase: number): number[] => steps.map((i) => 0.5 + 0.4 * Math.sin(i / 12 + phase));
  const latencies = Array.from(
    { length: 2000 },
    (_, i) => 0.004 + 0.002 * Math.abs(Math.sin(i * i)) + (i % 97 === 0 ? 0.05 : 0),
  );
  const edges = Array.from({ length: 41 }, (_, i) => -1 + i / 20);
  const bell = (width: number): number[] =>
    edges.slice(1).map((edge) => Math.round(4000 * Math.exp(-(((edge - 0.025) / width) ** 2))));
  return {
    title: "Sample of a report",
    subtitle: "Every kind of part once, with made-up numbers",
    facts: [
      { label: "Perplexity", value: "8.214", detail: "8.102 before, +1.4 %" },
      { label: "Size", value: "4.9 GB", detail: "16.1 GB before" },
      { label: "Throughput", value: "1,204 tok/s" },
    ],
    sections: [
      {
        title: "Text and tables",
        parts: [
          { kind: "paragraph", text: "A paragraph with <markup> & 'quotes' that stay what they are." },
          { kind: "list", items: ["one", "two"] },
          { kind: "code", text: '{ "scheme": "int4-g128" }' },
          { kind: "facts", facts: [{ label: "Seed", value: "7" }] },
          {
            kind: "table",
            columns: [{ title: "scheme" }, { title: "size", unit: "bytes" }, { title: "loss", unit: "share" }],
            rows: [
              ["int8-channel", 8.1e9, 0.001],
              ["int4-g128", 4.9e9, 0.014],
              ["bf16", 16.1e9, null],
            ],
          },
          { kind: "details", summary: "More", parts: [{ kind: "paragraph", text: "Folded away." }] },
        ],
      },
      {
        title: "Lines",
        parts: [
          {
            kind: "figure",
            title: "Two lines, one with a band",
            caption: "The band holds 95 % of the runs.",
            plot: {
              kind: "lines",
              x: { label: "layer" },
              y: { label: "relative error", scale: "log" },
              series: [
                {
                  ...{ name: "gptq", x: steps, y: wave(0) },
                  band: { low: wave(0).map((y) => y * 0.8), high: wave(0).map((y) => y * 1.25) },
                },
                { name: "round to nearest", x: steps, y: wave(1), dashed: true, muted: true },
              ],
            },
          },
          {
            kind: "figure",
            title: "Time between tokens",
            plot: {
              kind: "lines",
              x: { label: "time between tokens", unit: "seconds", scale: "log" },
              y: { label: "share of tokens", unit: "share", low: 0, high: 1 },
              series: [
                cumulative("int8", latencies),
                cumulative(
                  "bf16",
                  latencies.map((value) => value * 1.7),
                ),
              ],
            },
          },
          {
            kind: "figure",
            title: "A run over time",
            plot: {
              kind: "timeline",
              x: { label: "time", unit: "seconds" },
              panels: [
                {
                  y: { label: "tokens per second", low: 0 },
                  series: [{ name: "output", x: steps, y: wave(0).map((y) => y * 900) }],
                },
                {
                  y: { label: "requests", low: 0 },
                  series: [
                    { name: "running", x: steps, y: wave(2).map((y) => Math.round(y * 64)), shape: "steps" },
                    { name: "waiting", x: steps, y: wave(4).map((y) => Math.round(y * 20)), shape: "steps" },
                  ],
                },
                {
                  y: { label: "KV pages", unit: "share", low: 0, high: 1 },
                  series: [{ name: "used", x: steps, y: wave(1) }],
                },
              ],
            },
          },
        ],
      },
      {
        title: "Bins, bars and points",
        parts: [
          {
            kind: "figures",
            figures: [
              {
                title: "Histogram",
                plot: {
                  kind: "histogram",
                  x: { label: "weight" },
                  y: { label: "values" },
                  series: [
                    { name: "before", edges, counts: bell(0.4), muted: true },
                    { name: "after", edges, counts: bell(0.3).map((count, i) => (i % 3 === 0 ? count * 2 : 0)) },
                  ],
                },
              },
              {
                title: "Bars",
                plot: {
                  kind: "bars",
                  categories: ["int8", "int4", "e4m3"],
                  y: { label: "first token", unit: "seconds" },
                  series: [
                    { name: "cold", values: [0.9, 0.7, 0.8] },
                    { name: "warm", values: [0.1, 0.08, null] },
                  ],
                },
              },
            ],
          },
          {
            kind: "figure",
            title: "Perplexity against size",
            plot: {
              kind: "scatter",
              x: { label: "size", unit: "bytes" },
              y: { label: "perplexity" },
              better: { x: "low", y: "low" },
              series: [
                {
                  name: "round to nearest",
                  points: [
                    { x: 8.1e9, y: 8.11, label: "int8-channel" },
                    { x: 4.9e9, y: 8.4, label: "int4-g128" },
                    { x: 4.9e9, y: 8.9, label: "int4-channel" },
                  ],
                },
                {
                  name: "gptq",
                  points: [
                    { x: 4.9e9, y: 8.21, label: "int4-g128" },
                    { x: 3.9e9, y: 8.8, label: "int3-g128" },
                  ],
                },
              ],
            },
          },
        ],
      },
    ],
    footer: "Written by Kvant.",
  };
}
