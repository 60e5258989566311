import { fileURLToPath } from "node:url";
import { openCheckpoint, readModelConfig } from "@kvant/checkpoint";
import { parseWeightFormat, type QuantizedTensor, quantizeAbsMax } from "@kvant/formats";
import { createReferenceBackend, type WeightId, type WeightSource } from "@kvant/kernels";
import { afterAll, expect, test } from "vitest";
import { buildPlan } from "./build-plan.ts";
import { type LoadProgress, loadModel, storedDtype } from "./load-model.ts";
import { loadRandomWeights } from "./random-weights.ts";
import { resolveScheme } from "./scheme.ts";

const folder = fileURLToPath(new URL("../test/golden-models/llama-tied", import.meta.url));
const checkpoint = openCheckpoint(folder);
const { plan } = buildPlan(readModelConfig(folder), resolveScheme({}, storedDtype(checkpoint)));
afterAll(() => checkpoint.close());

/** Remembers what it is given. */
function recorder() {
  const loaded = new Map<WeightId, WeightSource>();
  const coded = new Map<WeightId, QuantizedTensor>();
  return {
    loaded,
    coded,
    loadQuantized: (id: WeightId, _: number, tensor: QuantizedTensor) => void coded.set(id, tensor),
    loadWeight: (id: WeightId, source: WeightSource) => void loaded.set(id, { ...source, data: source.data.slice() }),
  };
}

test("every weight of the plan is loaded, and a tied tensor is read once", () => {
  const reads: string[] = [];
  const read = (name: string) => {
    reads.push(name);
    return checkpoint.read(name);
  };
  const counting = { ...checkpoint, read };
  const executable = recorder();
  const progress: LoadProgress[] = [];
  loadModel(counting, plan, executable, { onProgress: (each) => progress.push(each) });
  expect(executable.loaded.size).toBe(plan.weights.length);
  expect(new Set(reads).size).toBe(reads.length);
  expect(reads.filter((name) => name === "model.embed_tokens.weight")).toHaveLength(1);
  expect(progress.at(-1)).toMatchObject({ loadedTensors: reads.length, totalTensors: reads.length });
  expect(progress.at(-1)!.loadedBytes).toBe(progress.at(-1)!.totalBytes);
});

test("weights that the checkpoint holds quantized are loaded from their codes", () => {
  const module = "model.layers.0.self_attn.q_proj";
  const { id, rows, cols } = plan.weights.find(({ name }) => name === `${module}.weight`)!;
  const tensor = quantizeAbsMax(new Float32Array(rows * cols).fill(0.5), rows, cols, parseWeightFormat("int8"));
  const modules = new Map([
    [module, { weightFormat: tensor.weightFormat, activations: undefined, compression: "int-quantized" as const }],
  ]);
  const tensors = new Map([...checkpoint.tensors].filter(([name]) => name !== `${module}.weight`));
  const executable = recorder();
  loadModel({ ...checkpoint, tensors }, plan, executable, { quantized: { modules, readQuantized: () => tensor } });
  expect(executable.coded).toEqual(new Map([[id, tensor]]));
  expect(executable.loaded.size).toBe(plan.weights.length - 1);

  const wrong = { ...tensor, rows: rows + 1 };
  const load = () =>
    loadModel({ ...checkpoint, tensors }, plan, recorder(), { quantized: { modules, readQuantized: () => wrong } });
  expect(load).toThrow(expect.objectContaining({ code: "TENSOR_SHAPE", field: `${module}.weight` }));
});

test("missing tensors are named before anything is loaded", () => {
  const tensors = new Map(checkpoint.tensors);
  tensors.delete("model.norm.weight");
  tensors.delete("model.layers.1.mlp.up_proj.weight");
  const executable = recorder();
  expect(() => loadModel({ ...checkpoint, tensors }, plan, executable)).toThrow(
    expect.objectContaining({
      code: "TENSOR_MISSING",
      message: expect.stringMatching(/"model\.layers\.1\.mlp\.up_proj\.weight", "model\.norm\.weight"/),
    }),
  );
  expect(executable.loaded.size).toBe(0);
});

test("a tensor of another shape or an integer dtype is refused by name", () => {
  const name = "model.layers.0.self_attn.q_proj.weight";
  const info = checkpoint.tensors.get(name)!;
  const load = (changed: Partial<typeof info>) =>
    loadModel(
      { ...checkpoint, tensors: new Map([...checkpoint.tensors, [name, { ...info, ...changed }]]) },
      plan,
      recorder(),
    );
  expect(() => load({ shape: [64, 32] })).toThrow(expect.objectContaining({ code: "TENSOR_SHAPE", field: name }));
  expect(() => load({ dtype: "I32" })).toThrow(`tensor "${name}" has dtype I32`);
});

test("random weights fill a plan, the same for the same seed", async () => {
  const [first, second, other] = [recorder(), recorder(), recorder()];
  loadRandomWeights(plan, first, 1);
  loadRandomWeights(plan, second, 1);
  loadRandomWeights(plan, other, 2);
  expect(first.loaded.size).toBe(plan.weights.length);
  expect(first.loaded).toEqual(second.loaded);
  expect(first.loaded).not.toEqual(other.loaded);
  const executable = createReferenceBackend().compile(plan, {
    pageTokens: 16,
    pageCounts: plan.kvGroups.map(() => 2),
    maxRows: 1,
    maxTokens: 1,
    maxLogitRows: 1,
  });
  expect(() => loadRandomWeights(plan, executable, 1)).not.toThrow();
  await executable.close();
});
