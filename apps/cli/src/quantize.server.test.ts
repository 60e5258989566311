import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BundledCli, bundleCli } from "./testing/bundled-cli.ts";

let cli: BundledCli;
let folder: string;
let text: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvant quantize ö "));
  text = join(folder, "calibration.txt");
  writeFileSync(text, "She closed the door behind her, and the room was quite still. Nobody spoke. ".repeat(20));
  cli = await bundleCli();
});

afterAll(() => {
  cli?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const short = () => ["--calibration", text, "--samples", "2", "--sample-tokens", "64"];

async function quantize(out: string, args: readonly string[]) {
  return cli.run(["quantize", "tiny", "--out", join(folder, out), ...args, "--json"]);
}

test("a quantized checkpoint is served as it is, with its report beside it", async () => {
  const scheme = ["--scheme", "int4", "--granularity", "group:128", "--method", "awq+gptq", "--kv", "int8"];
  const { exitCode, stdout, stderr } = await quantize("int4", [...scheme, ...short(), "--eval", text]);
  expect(exitCode, stderr).toBe(0);
  const row = JSON.parse(stdout);
  expect(row).toMatchObject({ layers: 70, weights: "int4-g128", methods: "awq+gptq" });
  expect(row.bytesAfter).toBeLessThan(row.bytesBefore / 2);
  expect(row.quality.quantizedPerplexity).toBeGreaterThan(1);
  expect(row.quality.top1Agreement).toBeGreaterThan(0.5);
  expect(row.quality.top1Agreement).toBeLessThanOrEqual(1);

  const out = join(folder, "int4");
  const report = JSON.parse(readFileSync(join(out, "quantization-report.json"), "utf8"));
  expect(report.linears).toHaveLength(70);
  expect(report.kv.layers).toHaveLength(10);
  expect(readFileSync(join(out, "quantization-report.html"), "utf8")).toContain("int4-g128");
  const config = JSON.parse(readFileSync(join(out, "config.json"), "utf8"));
  expect(config.quantization_config).toMatchObject({ quant_method: "compressed-tensors", format: "pack-quantized" });

  const generated = await cli.run([
    "generate",
    out,
    "--token-ids",
    "0,20,30",
    "--max-tokens",
    "4",
    "--ignore-eos",
    "--json",
  ]);
  expect(generated.exitCode, generated.stderr).toBe(0);
  expect(JSON.parse(generated.stdout)).toMatchObject({ weights: "int4-g128", activations: "bf16", kvFormat: "int8" });

  const again = await cli.run(["generate", out, "--token-ids", "0,20", "--max-tokens", "1", "--weights", "int8"]);
  expect(again.exitCode).toBe(1);
  expect(again.stderr).toContain("quantized already (int4-g128), so they cannot become int8");
});

test.each([
  ["int3", "group:128", "int3-g128"],
  ["int2", "group:32", "int2-g32"],
  ["e4m3", "channel", "e4m3-channel"],
  ["mxfp4", undefined, "mxfp4"],
  ["nvfp4", undefined, "nvfp4"],
  ["w8a8-int8", "channel", "int8-channel"],
] as const)("scheme %s %s is written and runs", async (scheme, granularity, weights) => {
  const where = granularity === undefined ? [] : ["--granularity", granularity];
  const { exitCode, stderr } = await quantize(scheme, ["--scheme", scheme, ...where, "--method", "absmax"]);
  expect(exitCode, stderr).toBe(0);
  const args = ["generate", join(folder, scheme), "--token-ids", "0,20", "--max-tokens", "2", "--ignore-eos", "--json"];
  const { stdout, ...run } = await cli.run(args);
  expect(run.exitCode, run.stderr).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ weights, activations: scheme === "w8a8-int8" ? "int8" : "bf16" });
});

test("a recipe file mixes schemes", async () => {
  const recipe = join(folder, "recipe.yaml");
  writeFileSync(
    recipe,
    `rules:\n  - { match: "*.down_proj", scheme: int8, granularity: channel, method: absmax }\n  - { match: "*", scheme: int4, granularity: "group:32", method: mse }\n`,
  );
  const { exitCode, stdout, stderr } = await quantize("mixed", ["--recipe", recipe]);
  expect(exitCode, stderr).toBe(0);
  expect(JSON.parse(stdout).weights.split("+").sort()).toEqual(["int4-g32", "int8-channel"]);
  const generated = await cli.run([
    "generate",
    join(folder, "mixed"),
    "--token-ids",
    "0,20",
    "--max-tokens",
    "2",
    "--json",
  ]);
  expect(generated.exitCode, generated.stderr).toBe(0);
});

test("what cannot be done leaves nothing behind", async () => {
  const refusals: [string[], string][] = [
    [["--scheme", "int4", "--granularity", "group:128", "--method", "gptq"], "needs calibration text"],
    [["--scheme", "int4", "--method", "absmax"], "scheme int4 needs a granularity"],
    [["--scheme", "int4", "--granularity", "group:128", "--method", "qat"], "METHOD_NOT_BUILT"],
    [
      ["--scheme", "int8", "--granularity", "channel", "--method", "gptq", ...short(), "--samples", "9999"],
      "not for 9999",
    ],
    [["--recipe", join(folder, "absent.yaml")], "the recipe cannot be read"],
  ];
  for (const [args, sentence] of refusals) {
    const { exitCode, stderr } = await quantize("refused", args);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(sentence);
  }
  expect(existsSync(join(folder, "refused"))).toBe(false);
  expect(existsSync(join(folder, "refused.partial"))).toBe(false);
  const taken = await cli.run([
    "quantize",
    "tiny",
    "--out",
    folder,
    "--scheme",
    "int8",
    "--granularity",
    "channel",
    "--method",
    "absmax",
  ]);
  expect(taken.exitCode).toBe(1);
  expect(taken.stderr).toContain("exists; name another folder");
});
