import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "js-yaml";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BundledCli, bundleCli } from "./testing/bundled-cli.ts";

let cli: BundledCli;
let folder: string;
let text: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvant quality ö "));
  text = join(folder, "text.txt");
  writeFileSync(text, "She closed the door behind her, and the room was quite still. Nobody spoke. ".repeat(20));
  cli = await bundleCli();
});

afterAll(() => {
  cli?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const short = () => ["--calibration", text, "--samples", "2", "--sample-tokens", "64"];

interface Row {
  readonly scheme: string;
  readonly perplexity: number;
  readonly klVsReference: number;
  readonly quantizeSeconds: number | null;
}

function rows<Kind = Row>(stdout: string): Kind[] {
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

async function quality(args: readonly string[]) {
  return cli.run(["bench", "quality", "tiny", "--text", text, ...args]);
}

test("schemes become rows beside BF16, and a kept folder is used again", async () => {
  const kept = ["--folder", join(folder, "kept"), "--text-bytes", "600"];
  const args = [...kept, "--schemes", "bf16,int8-channel,int4-g128/awq", ...short(), "--json"];
  const first = await quality(args);
  expect(first.exitCode, first.stderr).toBe(0);
  const [bf16, int8, int4] = rows(first.stdout);
  expect([bf16, int8, int4].map((row) => row?.scheme)).toEqual(["bf16", "int8-channel", "int4-g128/awq"]);
  expect(bf16).toMatchObject({ klVsReference: 0, top1Agreement: 100, quantizeSeconds: null, cost: null });
  expect(int8).toMatchObject({ weights: "int8-channel", activations: "bf16", kvFormat: "bf16" });
  expect(int4!.klVsReference).toBeGreaterThan(int8!.klVsReference);
  expect(int8!.quantizeSeconds).toBeGreaterThan(0);
  expect(first.stderr).toMatch(/scheme +bits\/w/);
  expect(readdirSync(join(folder, "kept")).sort()).toEqual(["int4-g128_awq", "int8-channel"]);

  const again = await quality(args);
  expect(again.exitCode, again.stderr).toBe(0);
  expect(rows(again.stdout).map(({ perplexity }) => perplexity)).toEqual(
    rows(first.stdout).map((row) => row.perplexity),
  );
  expect(rows(again.stdout).every(({ quantizeSeconds }) => quantizeSeconds === null)).toBe(true);

  const other = await quality([...args, "--seed", "5"]);
  expect(other.exitCode).toBe(1);
  expect(other.stderr).toContain("was made with other settings");
});

test("a claim that does not hold ends with 1 where it is checked", async () => {
  const schemes = ["--text-bytes", "600", "--schemes", "bf16,int4-channel,int4-g128,int4-g128/gptq"];
  const [output, html, markdown] = ["json", "html", "md"].map((ending) => join(folder, `result.${ending}`));
  const files = ["--output", output!, "--html", html!, "--markdown", markdown!];
  const { exitCode, stdout, stderr } = await quality([...schemes, ...short(), ...files, "--check"]);
  expect(stdout, stderr).toContain("loses less than int4-channel");
  const result = JSON.parse(readFileSync(output!, "utf8"));
  expect(result).toMatchObject({ kind: "kvant-quality", version: 1, model: "tiny", flags: { samples: 2 } });
  expect(result.rows).toHaveLength(4);
  expect(exitCode).toBe(result.claims.every(({ holds }: { holds: boolean }) => holds) ? 0 : 1);
  expect(readFileSync(html!, "utf8")).toContain("Perplexity against bytes");
  expect(readFileSync(markdown!, "utf8")).toContain("| int4-g128/gptq |");
  for (const file of [output, html, markdown]) expect(stderr).toContain(`wrote ${file}\n`);
});

test("planted outliers: the twin is as good in FP32, and claims speak of outliers", async () => {
  const planted = ["--plant-outliers", "40", "--schemes", "fp32,bf16,int8-channel+int8"];
  const { exitCode, stdout, stderr } = await quality([...planted, "--json"]);
  expect(exitCode, stderr).toBe(0);
  const own = await quality(["--schemes", "fp32", "--json"]);
  const [twin, , naive] = rows(stdout);
  expect(twin!.perplexity / rows(own.stdout)[0]!.perplexity).toBeCloseTo(1, 4); // the KV cache is BF16
  expect(naive!.perplexity).toBeGreaterThan(twin!.perplexity);
  expect(stderr).toMatch(/norm channels (\d+, ){5}\d+ of every layer times 40/);
});

test("a scheme that fails is named, ends with 1, and leaves the rows of the others", async () => {
  const kept = join(folder, "occupied");
  mkdirSync(kept);
  writeFileSync(join(kept, "int8-channel.partial"), "a file where a folder should be");
  const output = join(folder, "some.json");
  const args = ["--folder", kept, "--text-bytes", "600", "--schemes", "bf16,int8-channel", "--output", output];
  const { exitCode, stdout, stderr } = await quality(args);
  expect(exitCode).toBe(1);
  expect(stderr).toContain("int8-channel failed and has no row");
  expect(stdout).toMatch(/^bf16 /m);
  expect(JSON.parse(readFileSync(output, "utf8"))).toMatchObject({
    rows: [{ scheme: "bf16" }],
    failures: [{ scheme: "int8-channel", reason: expect.stringContaining("int8-channel.partial") }],
  });
});

test.each([
  [["--schemes", "int5"], 'no scheme is called "int5"'],
  [["--schemes", "int4-g128/awq"], "int4-g128/awq looks at activations, so it needs calibration text"],
  [["--schemes", "int8-channel+e4m3"], "e4m3 activations go with e4m3 weights"],
  [["--schemes", "bf16", "--output", "absent/result.json"], "absent/result.json: cannot be written (ENOENT)"],
] as const)("%j is refused before anything runs", async (args, sentence) => {
  const { exitCode, stdout, stderr } = await quality(args);
  expect(exitCode).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toContain(sentence);
});

test("a sensitivity scan writes a recipe within the budget that kvant quantize reads", async () => {
  const recipe = join(folder, "recipe.yaml");
  const candidates = ["--candidates", "int4-g128,int8-channel", "--budget-bits", "5", "--out", recipe];
  const { exitCode, stdout, stderr } = await cli.run(["sensitivity", "tiny", ...candidates, ...short(), "--json"]);
  expect(exitCode, stderr).toBe(0);
  const modules = rows<{ module: string; choice: number }>(stdout);
  expect(modules).toHaveLength(70);
  expect(new Set(modules.map(({ choice }) => choice))).toEqual(new Set([0, 1]));
  expect(load(readFileSync(recipe, "utf8"))).toMatchObject({ ignore: ["lm_head"] });

  const quantized = await cli.run(["quantize", "tiny", "--recipe", recipe, "--out", join(folder, "mixed"), "--json"]);
  expect(quantized.exitCode, quantized.stderr).toBe(0);
  const row = JSON.parse(quantized.stdout);
  expect(row.weights.split("+").sort()).toEqual(["int4-g128", "int8-channel"]);
  expect(row.bitsPerWeight).toBeLessThanOrEqual(5);

  const again = await cli.run(["sensitivity", "tiny", ...candidates, ...short()]);
  expect(again.exitCode).toBe(1);
  expect(again.stderr).toContain("exists");
  const tight = await cli.run([
    "sensitivity",
    "tiny",
    "--candidates",
    "int8-channel",
    "--budget-bits",
    "5",
    ...short(),
  ]);
  expect(tight.exitCode).toBe(1);
  expect(tight.stderr).toMatch(/the smallest candidates take 8\.\d+ bits per weight; the budget is 5/);
});
