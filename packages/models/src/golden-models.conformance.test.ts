import { fileURLToPath } from "node:url";
import { readSafetensors, type Tensor, toFloat32, toInt32 } from "@kvant/checkpoint";
import { availableBackends } from "@kvant/kernels";
import { describe, expect, test } from "vitest";
import { continuation, loadFolder, logitsOf } from "../test/model-runner.ts";

// Hugging Face transformers computed the goldens in float32 with other orders of summation; 1e-3 on logits of magnitude 10
// is what that costs through two layers, and no wrong formula stays under it.
const logitTolerance = 1e-3;

const fp32 = { weights: "fp32", kvFormat: "fp32" } as const;

describe.each(availableBackends())("golden models on $name", ({ create, reason }) => {
  if (create === undefined) {
    console.info(`SKIPPED: ${reason}`);
    test.skip(reason, () => undefined);
    return;
  }
  test.each(["llama", "llama-tied", "mistral", "qwen2", "qwen3"])(
    "%s has the stored logits and greedy text",
    async (name) => {
      const folder = fileURLToPath(new URL(`../test/golden-models/${name}`, import.meta.url));
      const golden = readGolden(`${folder}/golden.safetensors`);
      const model = loadFolder(folder, create(), fp32);
      const tokens = golden.inputIds.length / 2;
      for (const row of [0, 1]) {
        const inputIds = [...golden.inputIds.subarray(row * tokens, (row + 1) * tokens)];
        const logits = await logitsOf(model, inputIds, 33);
        const expected = golden.logits.subarray(row * logits.length, (row + 1) * logits.length);
        expect(largestDifference(logits, expected)).toBeLessThanOrEqual(logitTolerance);
      }
      const promptIds = [...golden.greedy.subarray(0, 40)];
      expect(await continuation(model, promptIds, 32)).toEqual([...golden.greedy.subarray(40)]);
      await model.executable.close();
    },
  );
});

function readGolden(path: string) {
  const { tensors } = readSafetensors(path);
  const tensor = (name: string): Tensor => tensors.get(name)!;
  return {
    inputIds: toInt32(tensor("input_ids")), // [2, 80]
    logits: toFloat32(tensor("logits")), // [2, 80, vocabulary]
    greedy: toInt32(tensor("greedy")), // [72]
  };
}

function largestDifference(actual: Float32Array, expected: Float32Array): number {
  expect(actual.length).toBe(expected.length);
  return actual.reduce((most, value, i) => {
    const difference = Math.abs(value - expected[i]!);
    return difference > most || Number.isNaN(difference) ? difference : most;
  }, 0);
}
