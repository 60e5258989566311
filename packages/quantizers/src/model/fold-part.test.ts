import { formats, roundTo } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { PlainRuntime, plainLayer, plainTensors } from "../../test/plain-runtime.ts";
import { foldPart, type PartLinear, partFold } from "./fold-part.ts";
import { parseLinearRecipe } from "./linear-recipe.ts";
import { collectStatistics, type PartStatistics } from "./part-statistics.ts";
import type { LayerPart } from "./quantize-runtime.ts";

const seed = 48_101;
const runtime = new PlainRuntime(seed, 1);
const parts = runtime.parts(0);
const [keyPart, outputPart, , downPart] = parts;
const awq = parseLinearRecipe({ scheme: "int3", granularity: "group:8", method: "awq" });
const smoothquant = parseLinearRecipe({ scheme: "w8a8-int8", granularity: "channel", method: "smoothquant" });
const nearest = parseLinearRecipe({ scheme: "int8", granularity: "channel", method: "absmax" });
const tokenIds = Int32Array.from({ length: 30 }, (_, i) => (i * 7) % 50);

function statisticsOf(tensors: ReadonlyMap<string, Float32Array>): Promise<readonly PartStatistics[]> {
  return collectStatistics(runtime, 0, tensors, [runtime.embed(tokenIds)], { states: "keep" });
}

function linearsOf(part: LayerPart, tensors: ReadonlyMap<string, Float32Array>, recipe = awq): readonly PartLinear[] {
  return part.modules.map((module) => {
    return { module, rows: tensors.get(`${module}.weight`)!.length / part.width, recipe };
  });
}

/** Largest difference of two layers' outputs beside the largest output. */
function difference(a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>): number {
  const [x, y] = [a, b].map((tensors) => plainLayer(0, tensors, runtime.embed(tokenIds)).output);
  const largest = x!.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return x!.reduce((most, value, i) => Math.max(most, Math.abs(value - y![i]!)), 0) / largest;
}

// Products and quotients in float32 each lose up to 2^-24, and a layer adds some up.
const float32Tolerance = 2e-6;

describe.each([
  ["awq", awq],
  ["smoothquant", smoothquant],
] as const)("%s", (name, recipe) => {
  test.each(parts.map((part, index) => [part.madeBy.module, index] as const))(
    `what %s makes can be folded without changing the layer (seed ${seed})`,
    async (_, index) => {
      const original = plainTensors(0, seed);
      const statistics = await statisticsOf(original);
      const tensors = new Map(original);
      const part = parts[index]!;
      // Outliers among the channels make both folds worth their while.
      const seen = statistics[index]!;
      const fold = foldPart(part, linearsOf(part, original, recipe), seen, tensors, "bf16");
      expect(fold?.note).toMatch(new RegExp(`^${name} .*: output error x 0\\.`));
      const changed = [...tensors].filter(([key, values]) => values !== original.get(key)).map(([key]) => key);
      const makers = [part.madeBy.module, ...part.modules].map((module) => `${module}.weight`);
      expect(changed.sort()).toEqual([...makers, ...(part.hasSourceBias ? [`${part.madeBy.module}.bias`] : [])].sort());
      expect(difference(original, tensors)).toBeLessThan(float32Tolerance);
    },
  );
});

test(`all four folds together leave the layer as it was (seed ${seed})`, async () => {
  const original = plainTensors(0, seed);
  const statistics = await statisticsOf(original);
  const tensors = new Map(original);
  for (const [index, part] of parts.entries()) {
    foldPart(part, linearsOf(part, original), statistics[index]!, tensors, "fp16");
  }
  expect(difference(original, tensors)).toBeLessThan(2 * float32Tolerance);
});

test.each(["bf16", "fp16", "fp32"] as const)(
  `a norm comes out in %s, and its rounding cancels in the columns (seed ${seed})`,
  async (format) => {
    const original = plainTensors(0, seed);
    const statistics = await statisticsOf(original);
    const tensors = new Map(original);
    const { scales } = foldPart(keyPart!, linearsOf(keyPart!, original), statistics[0]!, tensors, format)!;
    const name = `${keyPart!.madeBy.module}.weight`;
    const [before, after] = [original.get(name)!, tensors.get(name)!];
    expect(after).toEqual(after.map((value) => formats[format].decode(formats[format].encode(value))));
    after.forEach((value, i) => {
      expect(Math.abs(value * scales[i]! - before[i]!)).toBeLessThanOrEqual(Math.abs(before[i]!) * 2 ** -23);
    });
    expect(new Set(scales).size).toBeGreaterThan(2);
  },
);

test(`heads that share values share factors (seed ${seed})`, async () => {
  const original = plainTensors(0, seed);
  const statistics = await statisticsOf(original);
  const tensors = new Map(original);
  const fold = foldPart(outputPart!, linearsOf(outputPart!, original), statistics[1]!, tensors, "bf16")!;
  const bySource = new Map<number, number>();
  outputPart!.source.forEach((source, channel) => {
    expect(fold.scales[channel]).toBe(bySource.get(source) ?? fold.scales[channel]);
    bySource.set(source, fold.scales[channel]!);
  });
  expect(bySource.size).toBe(12);
});

test(`dead channels keep what they had (seed ${seed})`, async () => {
  const original = plainTensors(0, seed);
  const norm = original.get("model.layers.0.input_layernorm.weight")!;
  const up = original.get("model.layers.0.mlp.up_proj.weight")!;
  norm[4] = 0;
  up.fill(0, 5 * 24, 6 * 24);
  const statistics = await statisticsOf(original);
  for (const recipe of [awq, smoothquant]) {
    const tensors = new Map(original);
    const keys = foldPart(keyPart!, linearsOf(keyPart!, original, recipe), statistics[0]!, tensors, "bf16")!;
    const down = foldPart(downPart!, linearsOf(downPart!, original, recipe), statistics[3]!, tensors, "bf16")!;
    expect([keys.scales[4], down.scales[5]]).toEqual([1, 1]);
    expect(tensors.get("model.layers.0.input_layernorm.weight")![4]).toBe(0);
    expect([...tensors.values()].every((values) => values.every(Number.isFinite))).toBe(true);
    expect(difference(original, tensors)).toBeLessThan(2 * float32Tolerance);
  }
});

test(`a norm channel that would vanish is left alone (seed ${seed})`, async () => {
  const original = plainTensors(0, seed);
  const norm = original.get("model.layers.0.input_layernorm.weight")!;
  norm[4] = 2 ** -24; // the least subnormal of fp16: divided by more than 2 it would round to 0
  const statistics = await statisticsOf(original);
  const meanMagnitude = statistics[0]!.meanMagnitude.slice();
  meanMagnitude[4] = 1e6;
  const tensors = new Map(original);
  const linears = linearsOf(keyPart!, original);
  const fold = foldPart(keyPart!, linears, { ...statistics[0]!, meanMagnitude }, tensors, "fp16")!;
  expect(fold.scales[4]).toBe(1);
  expect(tensors.get("model.layers.0.input_layernorm.weight")![4]).toBe(roundTo("fp16", 2 ** -24));
});

test(`one layer that asks is enough, kept ones follow, and the search counts all that are quantized (seed ${seed})`, async () => {
  const original = plainTensors(0, seed);
  const [statistics] = await statisticsOf(original);
  const [key, value] = linearsOf(keyPart!, original);
  const fold = (linears: readonly PartLinear[]) => {
    const tensors = new Map(original);
    return { fold: foldPart(keyPart!, linears, statistics!, tensors, "bf16")!, tensors };
  };
  const alone = fold([value!]);
  expect(difference(original, alone.tensors)).toBeLessThan(float32Tolerance);
  expect(alone.tensors.get(`${key!.module}.weight`)).not.toEqual(original.get(`${key!.module}.weight`));
  const both = fold([{ ...key!, recipe: { ...awq, fold: undefined } }, value!]);
  expect(both.fold).toEqual(fold([key!, value!]).fold);
  expect(both.fold).not.toEqual(alone.fold);
  // A neighbour in 8 bits loses next to nothing, so it hardly counts.
  const beside = fold([{ ...key!, recipe: nearest }, value!]);
  expect(beside.fold.scales).toEqual(alone.fold.scales);
});

test("without a fold nothing moves, and two kinds of fold do not meet", async () => {
  const original = plainTensors(0, seed);
  const statistics = await statisticsOf(original);
  const tensors = new Map(original);
  expect(foldPart(keyPart!, linearsOf(keyPart!, original, nearest), statistics[0]!, tensors, "bf16")).toBeUndefined();
  expect([...tensors]).toEqual([...original]);
  const mixed = [
    { module: "k", recipe: awq },
    { module: "v", recipe: smoothquant },
  ];
  expect(() => partFold(mixed)).toThrow(
    '"k" and "v" read the same activations, so awq of the one does not go with smoothquant of the other',
  );
});
