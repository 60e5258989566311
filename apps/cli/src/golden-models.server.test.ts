import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSafetensors, toFloat32, toInt32 } from "@kvant/checkpoint";
import { availableBackends } from "@kvant/kernels";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BundledCli, bundleCli, goldenModel } from "./testing/bundled-cli.ts";

/** What the stored logits may differ by, anywhere: they were computed in float32 with another order of sums. */
const logitBudget = 1e-3;

const models = ["llama", "llama-tied", "mistral", "qwen2", "qwen3"];
const fp32 = ["--weights", "fp32", "--kv-format", "fp32"];

let cli: BundledCli;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvant logits é "));
  cli = await bundleCli();
});

afterAll(() => {
  cli?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const targets = availableBackends()
  .filter(({ name }) => name === "reference" || name.startsWith("cpu "))
  .map(({ name, reason }) => ({
    name,
    reason,
    flags: name === "reference" ? ["--backend", "reference"] : [],
    environment: name === "reference" ? {} : { KVANT_CPU_TIER: name.slice("cpu ".length) },
  }));

describe.each(targets)("on $name", ({ name, reason, flags, environment }) => {
  const isAbsent = reason !== undefined;
  const suffix = isAbsent ? ` (skipped: ${reason})` : "";

  test.skipIf(isAbsent).each(models)(`kvant logits of %s are the stored ones${suffix}`, async (model) => {
    const output = join(folder, `${model} ${name}.safetensors`);
    const golden = join(goldenModel(model), "golden.safetensors");
    const args = ["logits", goldenModel(model), "--input", golden, "--output", output, ...fp32, ...flags, "--json"];
    const { exitCode, stdout, stderr } = await cli.run(args, environment);
    expect(stderr).toContain("written to");
    expect(exitCode).toBe(0);
    const tier = name === "reference" ? {} : { tier: name.slice("cpu ".length), backend: "cpu" };
    expect(JSON.parse(stdout)).toMatchObject({ model, weights: "fp32", kvFormat: "fp32", device: "cpu", ...tier });

    const stored = readSafetensors(golden).tensors.get("logits")!;
    const written = readSafetensors(output).tensors.get("logits")!;
    expect(written.shape).toEqual(stored.shape);
    const [actual, expected] = [toFloat32(written), toFloat32(stored)];
    let worst = 0;
    for (const [i, value] of expected.entries()) {
      const difference = Math.abs(actual[i]! - value);
      if (!(difference <= worst)) worst = difference;
    }
    expect(worst).toBeLessThanOrEqual(logitBudget);
  });

  test.skipIf(isAbsent).each(models)(`kvant generate continues %s greedily as stored${suffix}`, async (model) => {
    const greedy = [...toInt32(readSafetensors(join(goldenModel(model), "golden.safetensors")).tensors.get("greedy")!)];
    const prompt = ["--token-ids", greedy.slice(0, 40).join(","), "--max-tokens", "32", "--ignore-eos"];
    const args = ["generate", goldenModel(model), ...prompt, "--print-token-ids", ...fp32, ...flags];
    const { exitCode, stdout } = await cli.run(args, environment);
    expect(exitCode).toBe(0);
    expect(stdout).toBe(`${greedy.slice(40).join(",")}\n`);
  });
});
