import type { QualityRow } from "../measure-quality.ts";
import { qualityClaims } from "../quality-claims.ts";
import type { QualityResult } from "../quality-result.ts";

const figures = [
  ["bf16", 16, 18e6, 47.6, 1900],
  ["int8-channel", 8.1, 11.2e6, 47.65, 2600],
  ["int4-channel", 4.1, 7.8e6, 52, 2900],
  ["int4-g128", 4.25, 7.9e6, 48.7, 2800],
  ["int4-g128/gptq", 4.25, 7.9e6, 48.2, 2810],
] as const;

function sampleRow([scheme, bitsPerWeight, weightBytes, perplexity, speed]: (typeof figures)[number]): QualityRow {
  const mean = Math.log(perplexity / 47.6);
  return {
    scheme,
    ...{ model: "sample", weights: scheme.split("/")[0]!, activations: "bf16", kvFormat: "bf16" },
    ...{ device: "cpu", backend: "cpu", tier: "avx2", variants: [], tokens: 28_429, windows: 55, seconds: 12 },
    ...{ bitsPerWeight, weightBytes, kvBytesPerToken: 5120, perplexity, bitsPerByte: 1.59, klVsBf16Kv: null },
    reference: { model: "sample", weights: "bf16", activations: "bf16", kvFormat: "bf16", perplexity: 47.6 },
    ...{ klVsReference: mean, top1Agreement: 100 - 100 * mean, perplexityRatio: perplexity / 47.6 },
    nllDifference: { mean, low: mean - 0.001, high: mean + 0.001 },
    quantizeSeconds: scheme === "bf16" ? null : 3,
    cost: {
      ...{ promptTokens: 128, loadSeconds: 0.1, coldFirstTokenSeconds: 0.2, warmFirstTokenSeconds: 0.02 },
      ...{ prefillTokensPerSecond: 3 * speed, decodeTokensPerSecond: speed, peakResidentBytes: 1.1e8 },
    },
  };
}

/** Made-up figures of a run with speed; `withoutCost` as it is without. */
export function sampleQualityResult({ withoutCost = false } = {}): QualityResult {
  const rows = figures.map(sampleRow).map((row) => (withoutCost ? { ...row, cost: null } : row));
  return {
    ...{ kind: "kvant-quality", version: 1, startedAt: "2026-01-02T03:04:05.000Z", model: "sample" },
    machine: { cpu: "A processor", cores: 2, memoryBytes: 8e9, platform: "linux-x64", accelerators: [] },
    software: { kvant: "0.1.0", node: "20.20.0" },
    flags: { text: "held-out.txt", samples: 128 },
    rows,
    claims: qualityClaims(rows),
  };
}
