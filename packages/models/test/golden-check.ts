import { readSafetensors, type Tensor, toFloat32, toInt32 } from "@kvant/checkpoint";
import type { Backend } from "@kvant/kernels";
import { continuation, loadFolder, logitsOf } from "./model-runner.ts";

// Hugging Face transformers computed the goldens in float32 with other orders of summation; 1e-3 on logits of magnitude 10
// is what that costs through two layers, and no wrong formula stays under it.
const logitTolerance = 1e-3;

// How far bf16 weights, activations and KV may take logits from the float32 goldens. The reference backend, which rounds only
// where the scheme says, is 0.17 to 0.49 off at most and 0.027 to 0.048 in the mean over models whose logits have a mean
// square of 2.1 squared and reach 11. Half as much again is for sums and roundings in another order.
const bf16Budget = { largest: 0.75, rootMeanSquare: 0.075 };

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

/** The same with bf16 weights, activations and KV: within `bf16Budget` of the float32 logits. */
export async function goldenBf16Failures(folder: string, backend: Backend): Promise<readonly string[]> {
  const { inputIds, logits } = readGolden(`${folder}/golden.safetensors`);
  const model = loadFolder(folder, backend, { weights: "bf16", kvFormat: "bf16" });
  const failures: string[] = [];
  const tokens = inputIds.length / 2;
  for (const row of [0, 1]) {
    const actual = await logitsOf(model, [...inputIds.subarray(row * tokens, (row + 1) * tokens)], 33);
    const expected = logits.subarray(row * actual.length, (row + 1) * actual.length);
    const largest = largestDifference(actual, expected);
    const square = actual.reduce((sum, value, i) => sum + (value - expected[i]!) ** 2, 0);
    const rootMeanSquare = Math.sqrt(square / actual.length);
    if (largest <= bf16Budget.largest && rootMeanSquare <= bf16Budget.rootMeanSquare) continue;
    failures.push(
      `bf16 logits of input ${row} differ by ${largest.toFixed(4)} at most (${bf16Budget.largest} allowed) and ` +
        `${rootMeanSquare.toFixed(5)} in the root mean square (${bf16Budget.rootMeanSquare} allowed)`,
    );
  }
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
