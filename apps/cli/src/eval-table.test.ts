import { expect, test } from "vitest";
import { costTable, type EvalRow, qualityTable } from "./eval-table.ts";

/** The widest terminal that tables are made for. */
const terminalColumns = 140;

const plain: EvalRow = {
  model: "tiny",
  weights: "int8-channel",
  activations: "int8",
  kvFormat: "bf16",
  device: "cpu",
  backend: "cpu",
  tier: "avx512_vnni",
  variants: [],
  weightBytes: 14_960_000_000,
  bitsPerWeight: 16,
  kvBytesPerToken: 131_072,
  tokens: 111_000,
  windows: 217,
  perplexity: 41.4249,
  bitsPerByte: 1.4906,
  klVsBf16Kv: 0,
  reference: null,
  klVsReference: null,
  top1Agreement: null,
  nllDifference: null,
  perplexityRatio: null,
  seconds: 12.34,
};

const compared: EvalRow = {
  ...plain,
  model: "Llama-3.2-1B-Instruct-gptq-int4-g128",
  weights: "int4-g128-affine",
  reference: {
    model: "Llama-3.2-1B-Instruct",
    weights: "bf16",
    activations: "bf16",
    kvFormat: "bf16",
    perplexity: 41.25,
  },
  klVsReference: 0.0199,
  top1Agreement: 89.987,
  nllDifference: { mean: -0.02378, low: -0.02685, high: -0.02071 },
  perplexityRatio: 0.9765,
};

const measured = {
  promptTokens: 128,
  loadSeconds: 1.5,
  coldFirstTokenSeconds: 12.5,
  warmFirstTokenSeconds: 0.00594,
  prefillTokensPerSecond: 61_350,
  decodeTokensPerSecond: 1723.94,
  peakResidentBytes: 16_000_000_000,
};

test("both tables of models with long names fit a terminal", () => {
  const rows = [
    { ...compared, ...measured },
    { ...compared, ...measured, model: "Llama-3.2-1B-Instruct-int8" },
  ];
  const lines = [...qualityTable(rows).split("\n"), ...costTable(rows).split("\n")];
  expect(lines).toHaveLength(11);
  for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(terminalColumns);
});

test("a row shows the difference with its interval, and the end of a long model's name", () => {
  const [title, , header, , first, second] = qualityTable([compared, { ...compared, model: "tiny" }]).split("\n");
  expect(title).toBe(
    "111000 tokens in 217 windows against …ama-3.2-1B-Instruct bf16 x bf16 x bf16 KV, whose perplexity is 41.2500;",
  );
  expect(header).toMatch(/^model +weights +activations +KV +bits\/w.*bits\/byte +KL +top-1 % +difference$/);
  expect(first).toMatch(/^…ruct-gptq-int4-g128 +int4-g128-affine .* 1\.99e-2 +89\.99 +-0\.02378 ± 0\.00307$/);
  expect(second).toMatch(/^tiny +int4-g128-affine /);
});

test("without a reference the table has neither its columns nor a model's name, with a single window no interval", () => {
  const [title, header, , row] = qualityTable([plain]).split("\n");
  expect(title).toBe("111000 tokens in 217 windows");
  expect(header).toMatch(/^weights +activations +KV .*KL vs bf16 KV +seconds$/);
  expect(row).toMatch(/0\.00e\+0 +12\.3$/);
  const lone = { ...compared, nllDifference: { mean: 0.5, low: null, high: null } };
  expect(qualityTable([lone])).toMatch(/\+0\.50000 ± \?$/);
});

test("costs that were not measured are dashes", () => {
  const [, , , measuredRow, plainRow] = costTable([{ ...plain, ...measured }, plain]).split("\n");
  expect(measuredRow).toMatch(/131072 +16000\.0 MB +61350 +1723\.9 +12500 +5\.94$/);
  expect(plainRow).toMatch(/131072 +- +- +- +- +-$/);
});
