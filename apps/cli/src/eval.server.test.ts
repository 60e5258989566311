import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BundledCli, bundleCli, goldenModel } from "./testing/bundled-cli.ts";

let cli: BundledCli;
let folder: string;
let text: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvant eval ö "));
  text = join(folder, "sample text.txt");
  writeFileSync(text, "She closed the door behind her, and the room was quite still. Nobody spoke.");
  cli = await bundleCli();
});

afterAll(() => {
  cli?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const reference = ["--backend", "reference"];

interface Row {
  readonly [field: string]: unknown;
}

function rows(stdout: string): Row[] {
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test("several models, weights and activations are rows of one table, each beside the reference", async () => {
  const args = ["eval", "tiny", ...reference, "--text", text, "--weights", "bf16,int8", "--reference"];
  const { exitCode, stdout, stderr } = await cli.run([...args, "--json"]);
  expect(exitCode, stderr).toBe(0);
  const [bf16, int8, ...others] = rows(stdout);
  expect(others).toEqual([]);
  const stored = { model: "tiny", weights: "bf16", activations: "bf16", kvFormat: "bf16" };
  expect(bf16).toMatchObject({ ...stored, klVsReference: 0, top1Agreement: 100, perplexityRatio: 1, klVsBf16Kv: 0 });
  expect(bf16!.reference).toEqual({ ...stored, perplexity: bf16!.perplexity });
  expect(int8!.klVsReference).toBeGreaterThan(0);
  // One window tells a mean and no interval.
  expect(int8!.nllDifference).toEqual({ mean: expect.any(Number), low: null, high: null });
  expect(int8).toMatchObject({ weightBytes: expect.any(Number), bitsPerWeight: expect.any(Number), windows: 1 });
  expect(stderr).toMatch(/against tiny bf16 x bf16 x bf16 KV.*\n.*\nweights +activations +KV.*difference/);

  const lists = ["--weights", "int8", "--activations", "bf16,int8", "--reference", "first", "--json"];
  const activations = rows((await cli.run(["eval", "tiny", ...reference, "--text", text, ...lists])).stdout);
  expect(activations.map((row) => row.activations)).toEqual(["bf16", "int8"]);
  expect(activations[0]).toMatchObject({
    klVsReference: 0,
    reference: { weights: "int8-channel", activations: "bf16" },
  });
  expect(activations[1]!.klVsReference).toBeGreaterThan(0);
});

test("a generated text needs no tokenizer, and models are compared with another format of the first", async () => {
  const models = [goldenModel("llama"), goldenModel("llama")];
  const own = ["--generate", "40", "--seed", "3", "--reference", "fp32"];
  const { exitCode, stdout, stderr } = await cli.run(["eval", ...models, ...reference, ...own, "--json"]);
  expect(exitCode, stderr).toBe(0);
  const [first, second] = rows(stdout);
  expect(first).toMatchObject({ model: "llama", tokens: 40, bitsPerByte: null, reference: { weights: "fp32" } });
  expect({ ...second, seconds: 0 }).toEqual({ ...first, seconds: 0 });
});

test("--speed puts what a scheme costs beside what it loses", async () => {
  const args = ["eval", "tiny", ...reference, "--context-length", "16", "--text", text, "--speed", "--json"];
  const { exitCode, stdout, stderr } = await cli.run(args);
  expect(exitCode, stderr).toBe(0);
  const [row] = rows(stdout);
  const costs =
    "kvBytesPerToken weightBytes promptTokens loadSeconds coldFirstTokenSeconds warmFirstTokenSeconds " +
    "prefillTokensPerSecond decodeTokensPerSecond peakResidentBytes";
  for (const field of costs.split(" ")) expect(row![field], field).toBeGreaterThan(0);
  expect(row!.coldFirstTokenSeconds).toBeGreaterThan(row!.loadSeconds as number);
  expect(row).toMatchObject({ reference: null, klVsReference: null, top1Agreement: null, nllDifference: null });
  expect(stderr).toMatch(/KV B\/token +peak RSS +prefill tok\/s +decode tok\/s +cold ms +warm ms/);
});

test.each<[string, string[], RegExp]>([
  ["neither a text nor a length", [], /either --text FILE or --generate COUNT \[INVALID_ARGUMENT\]/],
  ["both", ["--text", "a.txt", "--generate", "5"], /either --text FILE or --generate COUNT/],
  ["a reference that is no folder", ["--generate", "5", "--reference", "bf61"], /bf61: no such folder/],
  ["a seed past 32 bits", ["--generate", "5", "--seed", "4294967296"], /seed is 4294967296.*\[INVALID_ARGUMENT\]/],
])("%s: refused in a sentence", async (_, args, sentence) => {
  const { exitCode, stdout, stderr } = await cli.run(["eval", ...reference, ...args]);
  expect([exitCode, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(sentence);
  expect(stderr).not.toMatch(/^ +at /m);
});
