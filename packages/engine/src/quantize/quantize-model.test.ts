import {
  compressionFormat,
  openCheckpoint,
  packQuantized,
  readModelConfig,
  type TensorSource,
  unpackQuantized,
} from "@kvant/checkpoint";
import { dequantize, roundTo } from "@kvant/formats";
import {
  type FinishedLayer,
  parseRecipe,
  type QuantizeModelOptions,
  quantizeModel,
  sensitivityScan,
} from "@kvant/quantizers";
import { expect, test } from "vitest";
import { goldenModel, tokens } from "../testing/golden.ts";
import { LayerRunner } from "./layer-runner.ts";

const samples = [33, 18, 1].map((length, salt) => Int32Array.from(tokens(length, salt)));

function open(name: string, threads?: number) {
  const config = readModelConfig(goldenModel(name));
  const checkpoint = openCheckpoint(goldenModel(name));
  return { config, checkpoint, runtime: new LayerRunner({ config, checkpoint, threads }) };
}

const readers = { fp32: (value: number) => value, bf16: (value: number) => roundTo("bf16", value) };

async function finish(
  { checkpoint, runtime }: ReturnType<typeof open>,
  data: unknown,
  changes: Partial<QuantizeModelOptions> & { readonly stored?: keyof typeof readers } = {},
): Promise<readonly FinishedLayer[]> {
  const { stored = "fp32", ...options } = changes;
  const layers: FinishedLayer[] = [];
  await quantizeModel({
    runtime,
    readTensor: (name) => checkpoint.readFloat32(name).map(readers[stored]),
    recipe: parseRecipe(data),
    samples,
    onLayer: (_, finished) => layers.push(finished),
    ...options,
  });
  return layers;
}

/** A layer as it comes back from a bfloat16 checkpoint that it was written to. */
function readBack(layer: FinishedLayer | undefined): FinishedLayer | undefined {
  if (layer === undefined) return undefined;
  const quantized = new Map(
    [...layer.quantized].map(([module, tensor]) => {
      const { weightFormat } = tensor;
      const compression = compressionFormat(weightFormat, undefined);
      const tensors = packQuantized(module, tensor, compression);
      const source: TensorSource = {
        tensors: new Map(
          [...tensors].map(([name, { dtype, shape, data }]) => [name, { name, dtype, shape, bytes: data.length }]),
        ),
        read: (name) => tensors.get(name)!,
      };
      return [module, unpackQuantized(module, { weightFormat, activations: undefined, compression }, source)] as const;
    }),
  );
  const floats = new Map([...layer.floats].map(([name, values]) => [name, values.map(readers.bf16)]));
  return { ...layer, quantized, floats };
}

const int4 = { scheme: "int4", granularity: "group:16" };
const w8a8 = { scheme: "w8a8-int8", granularity: "channel" };
const recipes = {
  gptq: { rules: [{ match: "*", ...int4, method: "gptq" }], kv: { format: "int8", granularity: "head" } },
  "awq+gptq": { rules: [{ match: "*", ...int4, method: "awq+gptq" }], ignore: ["*.k_proj"] },
  smoothquant: { rules: [{ match: "*", ...w8a8, method: "smoothquant", activations: "static" }] },
  nvfp4: { rules: [{ match: "*", scheme: "nvfp4", method: "awq" }] },
  mixed: {
    rules: [
      { match: "*.down_proj", scheme: "int8", granularity: "channel", method: "mse" },
      { match: "*", scheme: "int3", granularity: "group:32", method: "awq" },
    ],
    kv: { format: "e4m3", granularity: "tensor" },
  },
};

// qwen2 has biases on q, k and v; qwen3 norms queries and keys; all share KV heads.
test.each([
  ...Object.keys(recipes).map((recipe) => ["llama", recipe] as const),
  ["qwen2", "awq+gptq"] as const,
  ["qwen3", "smoothquant"] as const,
])("%s by %s: an interrupted run ends as a whole one does, to the bit", async (name, recipe) => {
  const model = open(name);
  const data = recipes[recipe as keyof typeof recipes];
  const whole = await finish(model, data, { stored: "bf16" });
  const resumed = await finish(model, data, {
    stored: "bf16",
    finishedLayer: (layer) => (layer === 0 ? readBack(whole[0]) : undefined),
  });
  model.checkpoint.close();
  expect(resumed).toEqual(whole);
});

test("the same samples give the same layers, whatever the number of threads", async () => {
  const models = [open("llama", 1), open("llama", 2), open("llama", 2)];
  const [first, ...others] = await Promise.all(models.map((model) => finish(model, recipes["awq+gptq"])));
  for (const { checkpoint } of models) checkpoint.close();
  for (const other of others) expect(other).toEqual(first);
});

test("GPTQ's outputs err no more than round to nearest's in any layer of a model", async () => {
  const model = open("qwen2");
  const layers = await finish(model, recipes.gptq);
  model.checkpoint.close();
  const reports = layers.flatMap((layer) => layer.reports);
  expect(reports).toHaveLength(14);
  for (const { outputRelativeError, roundToNearestOutputError, activationsBefore } of reports) {
    expect(outputRelativeError).toBeLessThanOrEqual(roundToNearestOutputError!);
    expect(activationsBefore!.counts.length).toBeGreaterThan(3);
  }
});

test("folds leave what a model computes, biases and shared values among it", async () => {
  const model = open("qwen2");
  const { runtime, checkpoint } = model;
  const run = async (tensorsOf: (layer: number) => ReadonlyMap<string, Float32Array>) => {
    const states = runtime.embed(samples[0]!);
    for (let layer = 0; layer < runtime.layerCount; layer++) {
      await runtime.forwardLayer(layer, tensorsOf(layer), [states], { taps: [], states: "replace" });
    }
    return states;
  };
  const exact = await run((layer) => {
    return new Map(runtime.tensorNames(layer).map((name) => [name, checkpoint.readFloat32(name)]));
  });
  const energy = exact.reduce((sum, value) => sum + value * value, 0);
  const errorOf = async (method: string) => {
    const rules = [{ match: "*", scheme: "int8", granularity: "group:16", method }];
    const layers = await finish(model, { rules }, { floatFormat: () => "fp32" });
    const folds = layers.flatMap(({ reports }) => reports).filter(({ notes }) => notes[0]?.startsWith("awq ratio"));
    const near = await run((layer) => {
      const { floats, quantized } = layers[layer]!;
      const restored = [...quantized].map(([module, tensor]) => [`${module}.weight`, dequantize(tensor)] as const);
      return new Map([...floats, ...restored]);
    });
    const lost = exact.reduce((sum, value, i) => sum + (value - near[i]!) ** 2, 0);
    return { foldCount: folds.length, error: Math.sqrt(lost / energy) };
  };
  const [folded, plain] = [await errorOf("awq"), await errorOf("absmax")];
  checkpoint.close();
  expect([folded.foldCount > 4, plain.foldCount]).toEqual([true, 0]);
  // 8 bits lose so little that a misplaced factor would stand out.
  expect(folded.error).toBeLessThan(2 * plain.error);
});

test("static KV scales come out per head and per tensor, static activation scales per module", async () => {
  const model = open("llama");
  const perHead = await finish(model, recipes.gptq);
  const perTensor = await finish(model, recipes.mixed);
  const smoothed = await finish(model, recipes.smoothquant);
  model.checkpoint.close();
  for (const { kv } of perHead) {
    expect([kv!.k.length, kv!.v.length]).toEqual([2, 2]);
    expect([...kv!.k, ...kv!.v].every((scale) => scale > 0 && scale < 1)).toBe(true);
  }
  for (const { kv } of perTensor) expect([kv!.k.length, kv!.v.length]).toEqual([1, 1]);
  for (const { inputScales, quantized } of smoothed) expect([...inputScales.keys()]).toEqual([...quantized.keys()]);
});

test("progress of a model counts up to its total", async () => {
  const model = open("llama");
  const calls: number[] = [];
  let last = 0;
  await finish(model, recipes.gptq, {
    onProgress: (done, total) => {
      calls.push(done);
      last = total;
    },
  });
  model.checkpoint.close();
  expect(calls).toEqual(Array.from({ length: 2 * 2 * samples.length }, (_, i) => i + 1));
  expect(last).toBe(calls.length);
});

test("a recipe that needs calibration is refused without, by the module's name", async () => {
  const model = open("llama");
  const run = finish(model, recipes.gptq, { samples: undefined });
  await expect(run).rejects.toThrow('the recipe for "model.layers.0.self_attn.q_proj" needs calibration text');
  model.checkpoint.close();
});

test("a sensitivity scan of a model proposes a recipe within its budget, the same every time", async () => {
  const { runtime, checkpoint } = open("llama");
  const rules = [
    { match: "*", ...int4, method: "gptq" },
    { match: "*", scheme: "int8", granularity: "channel", method: "absmax" },
  ];
  const candidates = parseRecipe({ rules }).rules.map(({ linear }) => linear);
  const readTensor = (name: string) => checkpoint.readFloat32(name);
  const scan = () => sensitivityScan({ runtime, readTensor, samples, candidates, budgetBits: 7 });
  const [first, second] = [await scan(), await scan()];
  checkpoint.close();
  expect(first).toEqual(second);
  expect(first.modules).toHaveLength(14);
  expect(first.bitsPerWeight).toBeLessThanOrEqual(7);
  expect(new Set(first.modules.map(({ choice }) => choice))).toEqual(new Set([0, 1]));
  for (const { options } of first.modules) expect(options[1]!.loss).toBeLessThan(options[0]!.loss);
  expect(parseRecipe(first.chosen).rules.length).toBeGreaterThan(1);
});
