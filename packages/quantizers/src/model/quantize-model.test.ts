import { roundTo } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { PlainRuntime, plainLayer, plainTensors } from "../../test/plain-runtime.ts";
import { parseLinearRecipe } from "./linear-recipe.ts";
import { dequantizedTensors } from "./quantize-layer.ts";
import { type FinishedLayer, type QuantizeModelOptions, quantizeModel } from "./quantize-model.ts";
import { parseRecipe, type Recipe, uniformRecipe } from "./recipe.ts";

const seed = 48_401;
const runtime = new PlainRuntime(seed);
const weights = new Map([0, 1].flatMap((layer) => [...plainTensors(layer, seed)]));
const samples = [12, 7, 1].map((length, salt) => Int32Array.from({ length }, (_, i) => (i * 11 + 5 * salt) % 50));
const int4 = { scheme: "int4", granularity: "group:8" };
const gptq = uniformRecipe(parseLinearRecipe({ ...int4, method: "gptq" }));
const awqGptq = uniformRecipe(parseLinearRecipe({ ...int4, method: "awq+gptq" }));

async function finish(recipe: Recipe, changes: Partial<QuantizeModelOptions> = {}): Promise<readonly FinishedLayer[]> {
  const layers: FinishedLayer[] = [];
  await quantizeModel({
    runtime,
    readTensor: (name) => weights.get(name)!,
    recipe,
    samples,
    onLayer: (layer, finished) => {
      expect(layer).toBe(layers.length);
      layers.push(finished);
    },
    ...changes,
  });
  return layers;
}

/** What goes through the model of these layers: by layer and sequence what each module reads, keys and values. */
function activationsOf(layers: readonly FinishedLayer[]) {
  return samples.map((sample) => {
    let states = runtime.embed(sample);
    return layers.map((finished, layer) => {
      const { output, read } = plainLayer(layer, dequantizedTensors(finished), states);
      states = Float32Array.from(output);
      return read;
    });
  });
}

test(`a layer is quantized on what the quantized layers before it make (seed ${seed})`, async () => {
  const [first, second] = await finish(gptq);
  const sharp = parseRecipe({ rules: [{ match: "*.layers.1.*", ...int4, method: "gptq" }] });
  const [, alone] = await finish(sharp);
  const module = "model.layers.1.self_attn.k_proj";
  expect(second!.quantized.get(module)).not.toEqual(alone!.quantized.get(module));
  expect(first!.quantized.size).toBe(6);
  const replay = await finish(gptq, { finishedLayer: (layer) => (layer === 0 ? first : undefined) });
  expect(replay[1]!.quantized.get(module)).toEqual(second!.quantized.get(module));
});

describe.each([
  ["gptq", gptq],
  ["awq+gptq", awqGptq],
])("%s", (_, recipe) => {
  test(`the same samples give the same bytes (seed ${seed})`, async () => {
    expect(await finish(recipe)).toEqual(await finish(recipe));
  });

  test(`a run that takes finished layers up ends like one that was never interrupted (seed ${seed})`, async () => {
    const whole = await finish(recipe);
    for (const finishedCount of [1, 2]) {
      const taken: number[] = [];
      const resumed = await finish(recipe, {
        finishedLayer: (layer) => {
          if (layer >= finishedCount) return undefined;
          taken.push(layer);
          return whole[layer];
        },
      });
      expect(resumed).toEqual(whole);
      expect(taken).toEqual([0, 1].slice(0, finishedCount));
    }
  });
});

test(`what stays in float is as it will be read back, with folds too (seed ${seed})`, async () => {
  const recipe = parseRecipe({ rules: [{ match: "*", ...int4, method: "awq" }], ignore: ["*.up_proj", "*.k_proj"] });
  const rounded = (values: Float32Array) => values.map((value) => roundTo("bf16", value));
  const layers = await finish(recipe, { readTensor: (name) => rounded(weights.get(name)!) });
  for (const { floats } of layers) {
    expect(floats.size).toBe(5);
    for (const values of floats.values()) expect(values).toEqual(rounded(values));
  }
});

test(`static activation scales cover what flows in the quantized model (seed ${seed})`, async () => {
  const recipe = parseRecipe({
    rules: [
      {
        match: "*.down_proj",
        scheme: "w8a8-int8",
        granularity: "channel",
        method: "smoothquant",
        activations: "static",
      },
      { match: "*.o_proj", scheme: "w8a8-e4m3", granularity: "tensor", method: "absmax", activations: "static" },
      { match: "*", scheme: "w8a8-int8", granularity: "channel", method: "smoothquant" },
    ],
  });
  const layers = await finish(recipe);
  const activations = activationsOf(layers);
  for (const [layer, { inputScales, reports }] of layers.entries()) {
    const [output, down] = ["self_attn.o_proj", "mlp.down_proj"].map((part) => `model.layers.${layer}.${part}`);
    expect([...inputScales.keys()]).toEqual([output, down]);
    for (const [module, largestCode] of [[output!, 448] as const, [down!, 127] as const]) {
      const largest = activations.flatMap((each) => [...each[layer]!.get(module)!]).map(Math.abs);
      const scale = inputScales.get(module)!;
      expect(scale).toBeCloseTo(Math.max(...largest) / largestCode, 5);
      expect(reports.find(({ name }) => name === module)).toMatchObject({
        activationScale: scale,
        activations: largestCode === 127 ? "int8 (static)" : "e4m3 (static)",
      });
    }
    const dynamic = reports.find(({ name }) => name.endsWith("gate_proj"))!;
    expect(dynamic).toMatchObject({ activationScale: null, activations: "int8 (per token)" });
    const counted = dynamic.activationsAfter!.counts.reduce((a, b) => a + b) + dynamic.activationsAfter!.zeroCount;
    expect(counted).toBe(20 * 24);
  }
});

test.each(["head", "tensor"] as const)(`static KV scales per %s come out (seed ${seed})`, async (granularity) => {
  const recipe = { ...gptq, kv: { format: "int8", granularity } as const };
  const layers = await finish(recipe);
  const activations = activationsOf(layers);
  layers.forEach(({ kv }, layer) => {
    for (const [part, stored] of [["k", "keys"] as const, ["v", "values"] as const]) {
      const largest = [0, 0];
      for (const each of activations) {
        each[layer]!.get(stored)!.forEach((value, i) => {
          const head = Math.floor((i % 12) / 6);
          largest[head] = Math.max(largest[head]!, Math.abs(value));
        });
      }
      const expected = granularity === "head" ? largest : [Math.max(...largest)];
      expect(kv![part]).toHaveLength(expected.length);
      expected.forEach((value, head) => {
        expect(kv![part][head]).toBeCloseTo(value / 127, 5);
      });
    }
  });
});

test("without a KV recipe there are no KV scales", async () => {
  expect((await finish(gptq)).map(({ kv }) => kv)).toEqual([undefined, undefined]);
});

test("progress counts up to its total, with and without calibration, resumed or not", async () => {
  const nearest = uniformRecipe(parseLinearRecipe({ ...int4, method: "absmax" }));
  const calls = async (recipe: Recipe, changes: Partial<QuantizeModelOptions> = {}) => {
    const progress: (readonly [number, number])[] = [];
    await finish(recipe, { ...changes, onProgress: (done, total) => progress.push([done, total]) });
    return progress;
  };
  const every = Array.from({ length: 12 }, (_, i) => [i + 1, 12] as const);
  expect(await calls(gptq)).toEqual(every);
  expect(await calls(nearest, { samples: undefined })).toEqual([
    [2, 4],
    [4, 4],
  ]);
  const [first] = await finish(gptq);
  expect(await calls(gptq, { finishedLayer: (layer) => (layer === 0 ? first : undefined) })).toEqual(
    every.filter(([done]) => done <= 3 || done >= 6),
  );
});

test(`a recipe of weights alone needs no samples (seed ${seed})`, async () => {
  const recipe = uniformRecipe(parseLinearRecipe({ scheme: "w8a8-int8", granularity: "channel", method: "mse" }));
  const calibrated = await finish(recipe);
  for (const none of [undefined, []]) {
    const layers = await finish(recipe, { samples: none });
    expect(layers.map(({ quantized }) => quantized)).toEqual(calibrated.map(({ quantized }) => quantized));
    expect(layers[0]!.reports[0]).toMatchObject({ outputRelativeError: null, activationsAfter: null });
    expect(layers[0]!.inputScales.size).toBe(0);
  }
});

test.each([
  [{ rules: [{ match: "*.1.*gate*", ...int4, method: "awq" }] }, 'the recipe for "model.layers.1.mlp.gate_proj" needs'],
  [
    {
      rules: [
        {
          match: "*.o_proj",
          scheme: "w8a8-int8",
          granularity: "channel",
          method: "absmax",
          activations: "static",
        },
      ],
    },
    'the recipe for "model.layers.0.self_attn.o_proj" needs calibration',
  ],
  [
    { rules: [{ match: "*", ...int4, method: "absmax" }], kv: { format: "e4m3", granularity: "head" } },
    "static KV scales need calibration",
  ],
])("%j without samples is refused before anything runs", async (data, sentence) => {
  for (const none of [undefined, []]) {
    const run = finish(parseRecipe(data), { samples: none, readTensor: () => expect.unreachable() });
    await expect(run).rejects.toThrow(sentence);
  }
});

test("two kinds of fold for one input are refused before anything runs", async () => {
  const recipe = parseRecipe({
    rules: [
      { match: "*.1.mlp.up_proj", ...int4, method: "awq" },
      { match: "*", scheme: "w8a8-int8", granularity: "channel", method: "smoothquant" },
    ],
  });
  await expect(finish(recipe, { readTensor: () => expect.unreachable() })).rejects.toThrow(
    '"model.layers.1.mlp.gate_proj" and "model.layers.1.mlp.up_proj" read the same activations, so smoothquant',
  );
});

test("weights that are not finite end the run with their name", async () => {
  const name = "model.layers.1.mlp.down_proj.weight";
  const readTensor = (each: string) => (each === name ? new Float32Array(24 * 40).fill(Infinity) : weights.get(each)!);
  await expect(finish(gptq, { readTensor })).rejects.toThrow(
    expect.objectContaining({ code: "WEIGHT_NOT_FINITE", field: name }),
  );
});
