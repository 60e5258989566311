import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openForwardPass } from "@kvant/engine";
import { availableBackends } from "@kvant/kernels";
import { tinyModelPath } from "@kvant/tiny-model";
import { describe, expect, test, vi } from "vitest";
import { type Evaluation, evaluate } from "./evaluate.ts";

// Without the addon everything runs on the reference backend.
vi.setConfig({ testTimeout: 60_000 });

const text = readFileSync(new URL("../../test/harbour.txt", import.meta.url), "utf8");

const native = availableBackends().find(({ name }) => name.startsWith("cpu"));
const hasNative = availableBackends().some(({ name, create }) => name.startsWith("cpu") && create !== undefined);
/** The reference backend takes a second for a hundred tokens. */
const [device, slice] = hasNative ? ["cpu", text] : ["reference", text.slice(0, 600)];

function tiny(kvFormat: string, options: object = {}) {
  return { model: tinyModelPath, weights: "fp32", kvFormat, device, ...options };
}

describe("an evaluation", () => {
  test("is exactly the same whatever the chunks, over several windows", async () => {
    const results: Evaluation[] = [];
    for (const chunkTokens of [7, 64, 200]) {
      const engine = tiny("int8", { chunkTokens, contextLength: 64 });
      results.push(await evaluate({ engine, text: text.slice(0, 600), divergence: true }));
    }
    const [first, ...others] = results.map(({ tokens, perplexity, bitsPerByte, klVsBf16Kv }) => ({
      tokens,
      perplexity,
      bitsPerByte,
      klVsBf16Kv,
    }));
    expect(first!.tokens).toBeGreaterThan(120);
    for (const other of others) expect(other).toEqual(first);
  });

  test("is the mean surprise of each token after the ones before it", async () => {
    const short = text.slice(0, 120);
    const open = await openForwardPass(tiny("fp32"));
    const ids = Int32Array.from([open.beginningOfSequenceId!, ...open.tokenizer!.encode(short, { addBos: false })]);
    const { vocabSize } = open.info;
    const logits = await open.pass.logits(ids.subarray(0, -1));
    await open.close();
    let nats = 0;
    for (let row = 0; row + 1 < ids.length; row++) {
      const values = [...logits.subarray(row * vocabSize, (row + 1) * vocabSize)];
      nats += Math.log(values.reduce((sum, value) => sum + Math.exp(value), 0)) - values[ids[row + 1]!]!;
    }
    const { tokens, perplexity, bitsPerByte } = await evaluate({
      engine: tiny("fp32"),
      text: short,
      divergence: false,
    });
    expect(tokens).toBe(ids.length - 1);
    expect(perplexity).toBeCloseTo(Math.exp(nats / tokens), 3);
    expect(bitsPerByte).toBeCloseTo(nats / Math.LN2 / Buffer.byteLength(short), 5);
  });

  test("scores alike with and without the divergence, and says when it was not measured", async () => {
    const short = text.slice(0, 200);
    const plain = await evaluate({ engine: tiny("e4m3"), text: short, divergence: false });
    const compared = await evaluate({ engine: tiny("e4m3"), text: short, divergence: true });
    expect(plain.klVsBf16Kv).toBeNull();
    expect(plain.bitsPerByte!).toBeCloseTo(compared.bitsPerByte!, 5);
  });

  test("of nothing is refused", async () => {
    const refused = evaluate({ engine: tiny("bf16"), text: "", divergence: false });
    await expect(refused).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe(`KV formats on the built-in model (${device})`, () => {
  test("diverge from a BF16 cache in the order int8, e4m3, e5m2, and by little", async () => {
    const rows = new Map<string, Evaluation>();
    for (const kvFormat of ["bf16", "int8", "e4m3", "e5m2"]) {
      rows.set(kvFormat, await evaluate({ engine: tiny(kvFormat), text: slice, divergence: true }));
    }
    const kl = (format: string) => rows.get(format)!.klVsBf16Kv!;
    expect(kl("bf16")).toBe(0);
    expect(kl("int8")).toBeGreaterThan(0);
    expect(kl("e4m3")).toBeGreaterThan(kl("int8"));
    expect(kl("e5m2")).toBeGreaterThan(kl("e4m3"));
    // What the built-in model promises of its caches, as shares of the perplexity with BF16 KV.
    const change = (format: string) => Math.abs(rows.get(format)!.perplexity / rows.get("bf16")!.perplexity - 1);
    if (hasNative) {
      expect(change("int8")).toBeLessThan(0.002);
      expect(change("e4m3")).toBeLessThan(0.01);
    }
  });
});

describe(`candidates beside a reference (${device})`, () => {
  const engine = (weights: string, options: object = {}) => ({ ...tiny("bf16"), weights, ...options });
  const compare = (candidate: object, options: object = {}) =>
    evaluate({ engine: { ...engine("bf16"), ...candidate }, text: slice, divergence: true, ...options });

  test("a model beside itself has no divergence, full agreement and a difference of nothing", async () => {
    const row = await compare({ contextLength: 128 }, { reference: engine("bf16", { contextLength: 128 }) });
    expect(row).toMatchObject({
      reference: { model: "model", weights: "bf16", activations: "bf16", kvFormat: "bf16" },
      klVsReference: 0,
      klVsBf16Kv: 0,
      top1Agreement: 100,
      nllDifference: { mean: 0, low: 0, high: 0 },
      perplexityRatio: 1,
      bitsPerWeight: 16,
    });
    expect(row.reference!.perplexity).toBe(row.perplexity);
    expect(row.windows).toBeGreaterThan(1);
  });

  test("INT4 with one scale per tensor is further from BF16 than INT8 per channel, which is not there either", async () => {
    const [int8, int4] = await Promise.all(
      ["int8-channel", "int4-tensor"].map((weights) => compare({ weights }, { reference: engine("bf16") })),
    );
    expect(int8!.klVsReference).toBeGreaterThan(0);
    expect(int4!.klVsReference).toBeGreaterThan(10 * int8!.klVsReference!);
    expect(int8!.top1Agreement).toBeGreaterThan(int4!.top1Agreement!);
    expect(int4!.nllDifference!.mean).toBeGreaterThan(Math.abs(int8!.nllDifference!.mean));
    for (const row of [int8!, int4!]) {
      const { nllDifference, perplexityRatio, perplexity, reference } = row;
      expect(perplexityRatio).toBeCloseTo(perplexity / reference!.perplexity, 9);
      expect(Math.log(perplexityRatio!)).toBeCloseTo(nllDifference!.mean, 9);
      expect(nllDifference!.low === null).toBe(row.windows === 1);
    }
    expect(int8!.weightBytes).toBeGreaterThan(int4!.weightBytes);
    expect(Math.floor(int8!.bitsPerWeight)).toBe(8);
    expect(Math.floor(int4!.bitsPerWeight)).toBe(4);
    expect(int8!.kvBytesPerToken).toBe(10 * 2 * 2 * 64 * 2);
  });

  test("the divergence from a BF16 cache is known where only the cache differs, and not where more does", async () => {
    const reference = engine("bf16");
    const sameWeights = await compare({ kvFormat: "e5m2" }, { reference });
    expect(sameWeights.klVsBf16Kv).toBeGreaterThan(0);
    expect(sameWeights.klVsBf16Kv).toBe(sameWeights.klVsReference);
    const otherWeights = await compare({ kvFormat: "e5m2", weights: "int8-channel" }, { reference });
    expect(otherWeights.klVsBf16Kv).toBeNull();
    expect(otherWeights.klVsReference).toBeGreaterThan(0);
  });

  test.each([
    ["another vocabulary", { vocab_size: 512 }, /vocabularies have 4096 and 512 tokens/],
    ["another beginning of sequence", { bos_token_id: 5 }, /sequences begin with 0 and 5/],
    ["another tokenizer", {}, /cut the text into different tokens/],
  ])("a reference with %s is refused", async (_, change, sentence) => {
    // Random weights come with a tokenizer of bytes.
    const model = mkdtempSync(join(tmpdir(), "kvant reference "));
    const config = JSON.parse(readFileSync(join(tinyModelPath, "config.json"), "utf8"));
    writeFileSync(join(model, "config.json"), JSON.stringify({ ...config, ...change, num_hidden_layers: 1 }));
    const refused = compare({}, { reference: { model, load: "dummy", device } });
    await expect(refused).rejects.toThrow(sentence);
    await expect(refused).rejects.toMatchObject({ code: "INVALID_ARGUMENT", field: "reference" });
    rmSync(model, { recursive: true });
  });
});

test.skipIf(!hasNative)(
  `the native backend scores as the reference does${hasNative ? "" : ` (skipped: ${native?.reason})`}`,
  async () => {
    const short = text.slice(0, 300);
    const mine = await evaluate({ engine: tiny("fp32"), text: short, divergence: false });
    const oracle = await evaluate({ engine: tiny("fp32", { device: "reference" }), text: short, divergence: false });
    expect(mine.tokens).toBe(oracle.tokens);
    expect(mine.bitsPerByte!).toBeCloseTo(oracle.bitsPerByte!, 5);
  },
);
