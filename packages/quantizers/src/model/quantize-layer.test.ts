import { dequantize, quantizeAbsMax } from "@kvant/formats";
import { beforeAll, describe, expect, test } from "vitest";
import { PlainRuntime, plainLayer, plainTensors } from "../../test/plain-runtime.ts";
import { type LinearRecipeNames, parseLinearRecipe } from "./linear-recipe.ts";
import { collectStatistics, type PartStatistics } from "./part-statistics.ts";
import { dequantizedTensors, foldLayer, type QuantizeLayerOptions, quantizeLayer } from "./quantize-layer.ts";
import { parseRecipe, type Recipe, uniformRecipe } from "./recipe.ts";

const seed = 48_301;
const runtime = new PlainRuntime(seed, 1);
const parts = runtime.parts(0);
const modules = parts.flatMap((part) => part.modules);
const states = [0, 1, 2].map((salt) => runtime.embed(Int32Array.from({ length: 24 }, (_, i) => (i * 7 + salt) % 50)));
const tensors = plainTensors(0, seed);
let statistics: readonly PartStatistics[];
beforeAll(async () => {
  statistics = await collectStatistics(runtime, 0, tensors, states, { states: "keep" });
});

const uniform = (names: LinearRecipeNames, options: Partial<Recipe> = {}) =>
  uniformRecipe(parseLinearRecipe(names), options);
const quantize = (recipe: Recipe, changes: Partial<QuantizeLayerOptions> = {}) =>
  quantizeLayer({ parts, tensors, recipe, statistics, ...changes });

/** Relative error of the layer's output over the calibration sequences. */
function outputError(layer: ReturnType<typeof quantize>): number {
  const changed = dequantizedTensors(layer);
  let [error, energy] = [0, 0];
  for (const each of states) {
    const [exact, near] = [plainLayer(0, tensors, each).output, plainLayer(0, changed, each).output];
    exact.forEach((value, i) => {
      error += (value - near[i]!) ** 2;
      energy += (value - each[i]!) ** 2; // what the layer adds to the stream
    });
  }
  return Math.sqrt(error / energy);
}

const int4 = { scheme: "int4", granularity: "group:8" };
const w8a8 = { scheme: "w8a8-int8", granularity: "channel" };
const recipes: LinearRecipeNames[] = [
  ...["absmax", "percentile", "mse", "gptq", "awq", "awq+mse", "awq+gptq"].map((method) => ({ ...int4, method })),
  ...["absmax", "entropy", "smoothquant", "smoothquant+gptq", "awq"].map((method) => ({ ...w8a8, method })),
  { scheme: "int4", granularity: "channel", affine: true, method: "awq" },
  { scheme: "int8", granularity: "tensor", method: "gptq" },
  { scheme: "e4m3", granularity: "channel", method: "awq+gptq" },
  { scheme: "mxfp4", method: "awq" },
  { scheme: "nvfp4", method: "gptq" },
];

describe.each(recipes)("$scheme $granularity $method", (names) => {
  test(`all linear layers are quantized, everything else is there (seed ${seed})`, () => {
    const layer = quantize(uniform(names));
    expect([...layer.quantized.keys()]).toEqual(modules);
    expect(layer.kept).toEqual([]);
    expect(layer.reports.map(({ name }) => name)).toEqual(modules);
    expect([...dequantizedTensors(layer).keys()].sort()).toEqual([...tensors.keys()].sort());
    const tolerance = names.scheme.includes("8") || names.scheme === "e4m3" ? 0.1 : 0.4;
    expect(outputError(layer)).toBeLessThan(tolerance);
    for (const report of layer.reports) {
      expect(report.outputRelativeError).toBeGreaterThan(0);
      expect(report.roundToNearestOutputError).toBeGreaterThan(0);
    }
  });

  test(`the same input gives the same layer (seed ${seed})`, () => {
    expect(quantize(uniform(names))).toEqual(quantize(uniform(names)));
  });
});

test.each(["gptq", "awq", "mse"])(`%s is compared with round to nearest of the original (seed ${seed})`, (method) => {
  const { reports } = quantize(uniform({ ...int4, method }));
  const nearest = quantize(uniform({ ...int4, method: "absmax" })).reports;
  reports.forEach((report, index) => {
    expect(report.roundToNearestOutputError).toBeCloseTo(nearest[index]!.outputRelativeError!, 6);
  });
});

test.each([...["tensor", "channel", "group:8"]])(
  `GPTQ's outputs err no more than round to nearest's: %s, act order or not (seed ${seed})`,
  (granularity) => {
    for (const actOrder of [false, true]) {
      for (const report of quantize(uniform({ scheme: "int3", granularity, method: "gptq" }, { actOrder })).reports) {
        expect(report.outputRelativeError).toBeLessThanOrEqual(report.roundToNearestOutputError!);
        expect(report.notes[0]).toBe("gptq damping 0.01");
      }
    }
  },
);

test(`AWQ helps where outliers are, and says how much (seed ${seed})`, () => {
  const recipe = { scheme: "int3", granularity: "group:8" };
  const [awq, nearest] = ["awq", "absmax"].map((method) => quantize(uniform({ ...recipe, method })));
  expect(outputError(awq!)).toBeLessThan(outputError(nearest!));
  expect(awq!.reports[0]!.notes).toEqual([
    expect.stringMatching(/^awq ratio 0\.\d\d: output error x 0\.\d{3}$/),
    expect.stringMatching(/^awq clipping: output error x [01]\.\d{3}$/),
  ]);
});

test(`modules that the recipe keeps stay to the bit where nothing folds, and are listed (seed ${seed})`, () => {
  const recipe = parseRecipe({
    rules: [{ match: "*_proj", ...int4, method: "gptq" }],
    ignore: ["*.k_proj", "*.down_proj"],
  });
  const { floats, quantized, kept, reports } = quantize(recipe);
  expect(kept.map(({ module, reason }) => `${module}: ${reason}`)).toEqual([
    'model.layers.0.self_attn.k_proj: the recipe ignores "*.k_proj"',
    'model.layers.0.mlp.down_proj: the recipe ignores "*.down_proj"',
  ]);
  expect(quantized.size).toBe(4);
  expect(reports).toHaveLength(4);
  for (const [name, values] of floats) expect(values).toBe(tensors.get(name));
  expect(floats.has("model.layers.0.self_attn.k_proj.weight")).toBe(true);
});

test(`what a fold changes among kept tensors is rounded as it is written (seed ${seed})`, () => {
  const recipe = parseRecipe({ rules: [{ match: "*_proj", ...int4, method: "awq" }], ignore: ["*.k_proj"] });
  const key = "model.layers.0.self_attn.k_proj.weight";
  const folded = foldLayer({ parts, tensors, recipe, statistics, floatFormat: () => "fp32" }).tensors.get(key)!;
  const written = (format: "bf16" | "fp16" | "fp32") => {
    const { floats } = quantize(recipe, { floatFormat: (name) => (name === key ? format : "fp32") });
    return floats.get(key)!;
  };
  expect(written("fp32")).toEqual(folded);
  for (const [format, bits] of [
    ["bf16", 8],
    ["fp16", 11],
  ] as const) {
    written(format).forEach((value, i) => {
      expect(Math.abs(value - folded[i]!)).toBeLessThanOrEqual(Math.abs(folded[i]!) * 2 ** -bits + 2 ** -25);
    });
  }
  const bias = "model.layers.0.self_attn.v_proj.bias";
  const { floats } = quantize(recipe);
  expect(floats.get(bias)).not.toEqual(tensors.get(bias));
  expect(floats.get(bias)!.every((value) => (new Uint32Array(Float32Array.of(value).buffer)[0]! & 0xffff) === 0)).toBe(
    true,
  );
});

test(`without statistics a layer is rounded from its weights alone (seed ${seed})`, () => {
  const recipe = uniform({ ...w8a8, method: "absmax" });
  const layer = quantize(recipe, { statistics: undefined });
  for (const { module, rows, cols } of parts.flatMap(({ width, modules: each }) =>
    each.map((module) => ({ module, cols: width, rows: tensors.get(`${module}.weight`)!.length / width })),
  )) {
    const expected = quantizeAbsMax(tensors.get(`${module}.weight`)!, rows, cols, recipe.rules[0]!.linear.weightFormat);
    expect(dequantize(layer.quantized.get(module)!)).toEqual(dequantize(expected));
  }
  expect(layer.reports.every(({ outputRelativeError }) => outputRelativeError === null)).toBe(true);
});

test.each(["gptq", "awq"])("%s without statistics names the module that needs them", (method) => {
  expect(() => quantize(uniform({ ...int4, method }), { statistics: undefined })).toThrow(
    `${method} of "model.layers.0.self_attn.k_proj" needs calibration activations`,
  );
});

test.each(["self_attn.o_proj.weight", "post_attention_layernorm.weight"])("NaN in %s is refused by name", (name) => {
  const full = `model.layers.0.${name}`;
  const broken = new Map(tensors);
  const values = tensors.get(full)!.slice();
  values[5] = Number.NaN;
  broken.set(full, values);
  expect(() => quantize(uniform({ ...int4, method: "absmax" }), { tensors: broken })).toThrow(
    expect.objectContaining({
      code: "WEIGHT_NOT_FINITE",
      message: `"${full}": element 5 is NaN; weights are finite numbers`,
    }),
  );
});

test(`dead inputs are counted, and a matrix of zeros comes back as zeros (seed ${seed})`, async () => {
  const dead = new Map(tensors);
  const norm = tensors.get("model.layers.0.post_attention_layernorm.weight")!.slice();
  norm[3] = 0;
  dead.set("model.layers.0.post_attention_layernorm.weight", norm);
  const up = "model.layers.0.mlp.up_proj";
  dead.set(`${up}.weight`, new Float32Array(40 * 24));
  const seen = await collectStatistics(runtime, 0, dead, states, { states: "keep" });
  for (const method of ["gptq", "awq", "awq+gptq", "absmax"]) {
    const layer = quantize(uniform({ ...int4, method }), { tensors: dead, statistics: seen });
    expect(dequantize(layer.quantized.get(up)!).every((value) => value === 0)).toBe(true);
    expect(layer.reports.every(({ outputRelativeError }) => Number.isFinite(outputRelativeError))).toBe(true);
    if (!method.includes("gptq")) continue;
    const gate = layer.reports.find(({ name }) => name.endsWith("gate_proj"))!;
    expect(gate.notes).toContain("1 inputs were never active");
  }
});
