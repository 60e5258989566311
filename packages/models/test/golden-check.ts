import { readSafetensors, type Tensor, toFloat32, toInt32 } from "@kvant/checkpoint";
import type { Backend } from "@kvant/kernels";
import { continuation, loadFolder, logitsOf } from "./model-runner.ts";

// Hugging Face transformers computed the goldens in float32 with other orders of summation; 1e-3 on logits of magnitude 10
// is what that costs through two layers, and no wrong formula stays under it.
const logitTolerance = 1e-3;

/** What a backend gets wrong about one golden model (float32 weights and KV): sentences, none when all is right. */
export async function goldenFailures(folder: string, backend: Backend): Promise<readonly string[]> {
  const golden = readGolden(`${folder}/golden.safetensors`);
  const model = loadFolder(folder, backend, { weights: "fp32", kvFormat: "fp32" });
  const failures: string[] = [];
  const tokens = golden.inputIds.length / 2;
  for (const row of [0, 1]) {
    const logits = await logitsOf(model, [...golden.inputIds.subarray(row * tokens, (row + 1) * tokens)], 33);
    const difference = largestDifference(
      logits,
      golden.logits.subarray(row * logits.length, (row + 1) * logits.length),
    );
    if (!(difference <= logitTolerance)) failures.push(`logits of input ${row} differ by ${difference}`);
  }
  const expected = [...golden.greedy.subarray(40)];
  const ids = await continuation(model, [...golden.greedy.subarray(0, 40)], expected.length);
  if (ids.join() !== expected.join()) failures.push(`continues with ${ids.join()}, not ${expected.join()}`);
  await model.executable.close();
  return failures;
}

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
  if (actual.length !== expected.length) return Infinity;
  return actual.reduce((most, value, i) => {
    const difference = Math.abs(value - expected[i]!);
    return difference > most || Number.isNaN(difference) ? difference : most;
  }, 0);
}
