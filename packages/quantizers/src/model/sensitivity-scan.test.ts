import { dequantize, quantizeAbsMax } from "@kvant/formats";
import { expect, test } from "vitest";
import { PlainRuntime, plainLayer, plainTensors } from "../../test/plain-runtime.ts";
import { parseLinearRecipe } from "./linear-recipe.ts";
import { parseRecipe, recipeFor } from "./recipe.ts";
import { type SensitivityScanOptions, sensitivityScan } from "./sensitivity-scan.ts";

const seed = 48_601;
const runtime = new PlainRuntime(seed);
const weights = new Map([0, 1].flatMap((layer) => [...plainTensors(layer, seed)]));
const samples = [14, 9].map((length, salt) => Int32Array.from({ length }, (_, i) => (i * 11 + 5 * salt) % 50));
const int4 = parseLinearRecipe({ scheme: "int4", granularity: "group:8", method: "gptq" });
const int8 = parseLinearRecipe({ scheme: "int8", granularity: "channel", method: "absmax" });
const modules = [0, 1].flatMap((layer) => runtime.parts(layer).flatMap((part) => part.modules));

const scan = (changes: Partial<SensitivityScanOptions> = {}) =>
  sensitivityScan({
    runtime,
    readTensor: (name) => weights.get(name)!,
    samples,
    candidates: [int4, int8],
    budgetBits: 100,
    ...changes,
  });

test(`a loss is the change of the stream behind the layer, token by token (seed ${seed})`, async () => {
  const { modules: scanned } = await scan({ candidates: [{ ...int4, rounding: "absmax" }] });
  expect(scanned.map(({ module }) => module)).toEqual(modules);
  const module = "model.layers.1.mlp.up_proj";
  const second = new Map([...weights].filter(([name]) => name.includes("layers.1.")));
  const values = weights.get(`${module}.weight`)!;
  const tensor = quantizeAbsMax(values, 40, 24, int4.weightFormat);
  const changed = new Map(second).set(`${module}.weight`, dequantize(tensor));
  let sum = 0;
  for (const sample of samples) {
    const states = Float32Array.from(plainLayer(0, weights, runtime.embed(sample)).output);
    const [exact, near] = [second, changed].map((tensors) => plainLayer(1, tensors, states).output);
    for (let start = 0; start < exact!.length; start += 24) {
      const energy = exact!.subarray(start, start + 24).reduce((all, value) => all + value ** 2, 0);
      const lost = exact!
        .subarray(start, start + 24)
        .reduce((all, value, i) => all + (value - near![start + i]!) ** 2, 0);
      sum += lost / energy;
    }
  }
  const found = scanned.find((each) => each.module === module)!;
  expect(found.parameters).toBe(40 * 24);
  expect(found.options).toHaveLength(1);
  expect(found.options[0]!).toMatchObject({ format: "int4-g8", method: "absmax", bitsPerWeight: 4 + 32 / 8 });
  expect(found.options[0]!.loss / (sum / 23)).toBeCloseTo(1, 4);
});

test(`the layer that suffers most is the first to get more bits (seed ${seed})`, async () => {
  // A column of huge weights that reads next to nothing takes all resolution from the rest of its rows.
  const sensitive = "model.layers.1.mlp.up_proj";
  const planted = new Map(weights);
  const plant = (name: string, change: (value: number, channel: number) => number) =>
    planted.set(
      name,
      weights.get(name)!.map((value, i) => change(value, i % 24)),
    );
  plant("model.layers.1.post_attention_layernorm.weight", (value, channel) => (channel === 4 ? value / 500 : value));
  plant(`${sensitive}.weight`, (value, channel) => (channel === 4 ? value * 500 : value));
  const readTensor = (name: string) => planted.get(name)!;
  const candidates = [
    { ...int8, weightFormat: { ...int8.weightFormat, format: "int4" } as const, scheme: "int4" as const },
    int8,
  ];
  const all = await scan({ readTensor, candidates });
  const parameters = all.modules.reduce((sum, each) => sum + each.parameters, 0);
  const bitsOf = (option: number) =>
    all.modules.reduce((sum, each) => sum + each.options[option]!.bitsPerWeight * each.parameters, 0);
  const [low, high] = [bitsOf(0), bitsOf(1)];
  expect(all.bitsPerWeight * parameters).toBeCloseTo(high, 6);

  const { options, parameters: own } = all.modules.find(({ module }) => module === sensitive)!;
  const step = (options[1]!.bitsPerWeight - options[0]!.bitsPerWeight) * own;
  const withOne = await scan({ readTensor, candidates, budgetBits: (low + step) / parameters });
  expect(withOne.modules.filter(({ choice }) => choice === 1).map(({ module }) => module)).toEqual([sensitive]);
  expect(withOne.bitsPerWeight).toBeCloseTo((low + step) / parameters, 12);
  expect(withOne.chosen).toEqual({
    rules: [
      { match: sensitive, scheme: "int8", granularity: "channel", method: "absmax" },
      { match: "*", scheme: "int4", granularity: "channel", method: "absmax" },
    ],
    ignore: ["lm_head"],
  });
});

test(`every budget is kept, and the proposal is a recipe that says the same (seed ${seed})`, async () => {
  const { modules: scanned } = await scan({ keptBits: 16 });
  expect(scanned.every(({ options }) => options.at(-1)!.loss === 0)).toBe(true);
  for (const budgetBits of [8, 8.4, 9.5, 12, 16]) {
    const proposal = await scan({ budgetBits, keptBits: 16, gptq: { actOrder: true } });
    expect(proposal.bitsPerWeight).toBeLessThanOrEqual(budgetBits);
    const recipe = parseRecipe(JSON.parse(JSON.stringify(proposal.chosen)));
    expect(recipe.actOrder).toBe(true);
    expect(recipeFor(recipe, "lm_head").kind).toBe("keep");
    for (const { module, choice } of proposal.modules) {
      const answer = recipeFor(recipe, module);
      expect(answer.kind === "keep" ? undefined : answer.linear).toEqual([int4, int8, undefined][choice]);
    }
  }
  const everything = await scan({ budgetBits: 16, keptBits: 16 });
  expect(everything.modules.every(({ choice }) => choice === 2)).toBe(true);
  expect(everything.bitsPerWeight).toBe(16);
});

test(`the same scan gives the same proposal, and more bits never more loss (seed ${seed})`, async () => {
  const candidates = [{ ...int4, fold: "awq" } as const, int8];
  const [first, second] = [await scan({ candidates }), await scan({ candidates })];
  expect(first).toEqual(second);
  const lossAt = async (budgetBits: number) => {
    const { modules: chosen } = await scan({ candidates, budgetBits });
    return chosen.reduce((sum, { options, choice }) => sum + options[choice]!.loss, 0);
  };
  const losses = [await lossAt(8), await lossAt(9), await lossAt(10)];
  expect(losses).toEqual([...losses].sort((a, b) => b - a));
});

test("progress counts up to its total", async () => {
  const progress: (readonly [number, number])[] = [];
  await scan({ onProgress: (done, total) => progress.push([done, total]) });
  const total = samples.length * (2 + modules.length * 2);
  expect(progress).toEqual(Array.from({ length: total }, (_, i) => [i + 1, total]));
});

test("what cannot be scanned is refused with what is wrong", async () => {
  await expect(scan({ budgetBits: 7.9 })).rejects.toThrow(
    "the smallest candidates take 8 bits per weight; the budget is 7.9",
  );
  await expect(scan({ candidates: [] })).rejects.toThrow("at least one candidate");
  await expect(scan({ samples: [] })).rejects.toThrow("needs calibration text");
  const awq = { ...int4, fold: "awq" } as const;
  const smoothquant = parseLinearRecipe({ scheme: "w8a8-int8", granularity: "channel", method: "smoothquant" });
  await expect(scan({ candidates: [awq, smoothquant] })).rejects.toThrow("does not mix awq and smoothquant");
});
