import { parseWeightFormat } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { parseQuantizationConfig, quantizationConfigJson } from "../index.ts";

const int4 = parseWeightFormat("int4-g128");
const layer = (index: number, name: string) => `model.layers.${index}.${name}`;

describe("the object that is written", () => {
  test("for packed INT4 is that of published W4A16 checkpoints, with the group's own format as of 2025", () => {
    const modules = [0, 1].map((index) => ({ module: layer(index, "mlp.down_proj"), weightFormat: int4 }));
    expect(quantizationConfigJson({ modules, ignore: ["lm_head"] })).toEqual({
      config_groups: {
        group_0: {
          format: "pack-quantized",
          input_activations: null,
          output_activations: null,
          targets: ["Linear"],
          weights: {
            actorder: null,
            block_structure: null,
            dynamic: false,
            group_size: 128,
            num_bits: 4,
            observer: null,
            observer_kwargs: {},
            strategy: "group",
            symmetric: true,
            type: "int",
          },
        },
      },
      format: "pack-quantized",
      global_compression_ratio: null,
      ignore: ["lm_head"],
      kv_cache_scheme: null,
      quant_method: "compressed-tensors",
      quantization_status: "compressed",
    });
  });

  test("for W8A8 with an FP8 cache has dynamic activations per token and a static cache scheme", () => {
    const modules = [
      {
        module: layer(0, "self_attn.q_proj"),
        weightFormat: parseWeightFormat("e4m3-channel"),
        activations: { format: "e4m3", scale: "dynamic" } as const,
      },
    ];
    const json = quantizationConfigJson({ modules, ignore: [], kv: { format: "e4m3", granularity: "head" } });
    const eightBits = { num_bits: 8, type: "float", symmetric: true };
    expect(json).toMatchObject({
      format: "float-quantized",
      config_groups: {
        group_0: {
          weights: { ...eightBits, strategy: "channel", dynamic: false, group_size: null },
          input_activations: { ...eightBits, strategy: "token", dynamic: true, observer: null },
        },
      },
      kv_cache_scheme: { ...eightBits, strategy: "attn_head", dynamic: false },
    });
    expect(Object.keys((json.config_groups as typeof json).group_0 as object)).not.toContain("scale_dtype");
  });

  test("for a mixed recipe names modules, says mixed-precision, and gives each group its format", () => {
    const json = quantizationConfigJson({
      modules: [
        { module: layer(0, "mlp.up_proj"), weightFormat: parseWeightFormat("mxfp4") },
        { module: layer(0, "mlp.down_proj"), weightFormat: parseWeightFormat("nvfp4") },
        { module: layer(1, "mlp.up_proj"), weightFormat: parseWeightFormat("mxfp4") },
        {
          module: layer(1, "mlp.down_proj"),
          weightFormat: parseWeightFormat("int8-channel"),
          activations: { format: "int8", scale: "static" },
        },
      ],
      ignore: ["lm_head"],
    });
    expect(json).toMatchObject({
      format: "mixed-precision",
      config_groups: {
        group_0: {
          format: "mxfp4-pack-quantized",
          targets: [layer(0, "mlp.up_proj"), layer(1, "mlp.up_proj")],
          weights: { num_bits: 4, type: "float", strategy: "group", group_size: 32, scale_dtype: "torch.uint8" },
        },
        group_1: {
          format: "nvfp4-pack-quantized",
          targets: [layer(0, "mlp.down_proj")],
          weights: { strategy: "tensor_group", group_size: 16, scale_dtype: "torch.float8_e4m3fn" },
        },
        group_2: {
          format: "int-quantized",
          targets: [layer(1, "mlp.down_proj")],
          input_activations: { num_bits: 8, type: "int", strategy: "tensor", dynamic: false },
        },
      },
    });
  });

  test("is refused for a module that is named twice or ignored too, and for nothing", () => {
    const module = { module: "m", weightFormat: int4 };
    expect(() => quantizationConfigJson({ modules: [module, module], ignore: [] })).toThrow('"m" is named twice');
    expect(() => quantizationConfigJson({ modules: [module], ignore: ["m"] })).toThrow('"m" is named as ignored too');
    expect(() => quantizationConfigJson({ modules: [], ignore: [] })).toThrow("no module is quantized");
  });

  test("may hold a cache scheme alone", () => {
    const kv = { format: "int8", granularity: "tensor" } as const;
    const config = parseQuantizationConfig("config.json", quantizationConfigJson({ modules: [], ignore: [], kv }));
    expect(config.kv).toEqual(kv);
    expect(config.schemeOf("anything")).toBeUndefined();
  });
});

/** A configuration with one group of weights, changed at the top, in the group and in its weights. */
function read(top: object = {}, group: object = {}, weights: object = {}) {
  const args = {
    num_bits: 4,
    type: "int",
    symmetric: true,
    strategy: "group",
    group_size: 128,
    dynamic: false,
    ...weights,
  };
  return parseQuantizationConfig("config.json", {
    quant_method: "compressed-tensors",
    format: "pack-quantized",
    quantization_status: "compressed",
    version: "0.9.4",
    sparsity_config: {},
    transform_config: {},
    config_groups: { group_0: { targets: ["Linear"], weights: args, input_activations: null, ...group } },
    ignore: ["lm_head"],
    ...top,
  });
}

describe("an object that is read", () => {
  test("finds a module by its name before patterns, and by patterns before its class", () => {
    const weights = (bits: number) => ({ num_bits: bits, type: "int", strategy: "channel" });
    const config = read({
      config_groups: {
        all: { targets: ["Linear"], weights: weights(8) },
        pattern: { targets: ["re:.*down_proj", "re:model\\.layers\\.[0-1]\\..*"], weights: weights(4) },
        one: { targets: ["model.layers.0.mlp.up_proj"], weights: weights(2) },
      },
      ignore: ["lm_head", "re:.*gate$"],
    });
    const formatOf = (module: string, moduleClass?: string) =>
      config.schemeOf(module, moduleClass)?.weightFormat.format;
    expect(formatOf("model.layers.0.mlp.up_proj")).toBe("int2");
    expect(formatOf("model.layers.1.mlp.up_proj")).toBe("int4");
    expect(formatOf("model.layers.7.mlp.down_proj")).toBe("int4");
    expect(formatOf("model.layers.7.mlp.up_proj")).toBe("int8");
    expect(formatOf("other.model.layers.1.mlp.up_proj")).toBe("int8");
    expect(formatOf("model.layers.7.mlp.gate")).toBeUndefined();
    expect(formatOf("lm_head")).toBeUndefined();
    expect(formatOf("model.embed_tokens", "Embedding")).toBeUndefined();
  });

  test("takes the strategy from the group size where it names none", () => {
    const granularity = (weights: object) =>
      read({}, {}, { strategy: null, ...weights }).schemeOf("m")!.weightFormat.granularity;
    expect(granularity({ group_size: 64 })).toEqual({ kind: "group", size: 64 });
    expect(granularity({ group_size: -1 })).toEqual({ kind: "channel", axis: 0 });
    expect(granularity({ group_size: null })).toEqual({ kind: "tensor" });
  });

  test("may have weights whose columns were quantized in another order and lie in their own", () => {
    expect(read({}, {}, { actorder: "static" }).schemeOf("m")).toBeDefined();
    expect(
      read({}, {}, { actorder: "weight", observer: "mse", observer_kwargs: { grid: 20 } }).schemeOf("m"),
    ).toBeDefined();
  });

  const float = { type: "float", num_bits: 8, strategy: "block", group_size: null, block_structure: [128, 128] };
  test("may have tiles", () => {
    const { weightFormat } = read({ format: "float-quantized" }, {}, float).schemeOf("m")!;
    expect(weightFormat).toEqual(parseWeightFormat("e4m3-t128x128"));
  });

  const fp4 = { type: "float", num_bits: 4, strategy: "tensor_group", group_size: 16 };
  const token = { num_bits: 8, type: "int", strategy: "token", dynamic: true, symmetric: true };
  test.each<[string, object, object, object, string]>([
    [
      "marlin-24",
      { format: "marlin-24" },
      {},
      {},
      'quantization_config.format is "marlin-24", which is not read; there are pack-quantized',
    ],
    ["an unfinished status", { quantization_status: "frozen" }, {}, {}, 'quantization_status is "frozen"'],
    ["sparsity", { sparsity_config: { format: "sparse-24-bitmask" } }, {}, {}, "sparsity_config.format is"],
    ["rotations", { transform_config: { config_groups: { u: {} } } }, {}, {}, "transform_config.config_groups is"],
    ["presets", { config_groups: { W4A16: ["Linear"] } }, {}, {}, "config_groups.W4A16 is"],
    ["an unknown key of a group", {}, { rotation: 1 }, {}, "config_groups.group_0.rotation is 1"],
    ["quantized outputs", {}, { output_activations: token }, {}, "group_0.output_activations is"],
    ["no weights", {}, { weights: null }, {}, "group_0.weights is null"],
    ["reordered columns", {}, {}, { actorder: "group" }, 'weights.actorder is "group"'],
    ["dynamic weights", {}, {}, { dynamic: true }, "weights.dynamic is true"],
    ["5 bits", {}, {}, { num_bits: 5 }, "weights.num_bits is 5, which is not read; integers have 8, 4, 3 or 2 bits"],
    ["an unknown strategy", {}, {}, { strategy: "token" }, 'weights.strategy is "token"'],
    ["an unknown argument", {}, {}, { codebook: "a" }, 'weights.codebook is "a"'],
    ["affine floats", { format: "float-quantized" }, {}, { ...float, symmetric: false }, "weights.symmetric is false"],
    ["integers as floats", { format: "float-quantized" }, {}, {}, 'weights.type is "int"'],
    ["floats as integers", {}, {}, float, 'weights.type is "float"'],
    [
      "FP4 in other groups",
      { format: "nvfp4-pack-quantized" },
      {},
      { ...fp4, group_size: 32 },
      'weights.strategy is "tensor_group"',
    ],
    [
      "MXFP4 in other groups",
      { format: "mxfp4-pack-quantized" },
      {},
      { ...fp4, strategy: "group" },
      "weights.group_size is 16",
    ],
    [
      "activations of 4 bits",
      {},
      { input_activations: { ...token, num_bits: 4 } },
      {},
      "input_activations.num_bits is 4",
    ],
    [
      "affine activations",
      {},
      { input_activations: { ...token, symmetric: false } },
      {},
      "input_activations.symmetric",
    ],
    [
      "activations in groups",
      {},
      { input_activations: { ...token, strategy: "group", group_size: 128 } },
      {},
      "input_activations.strategy",
    ],
    [
      "activations with a dynamic scale per tensor",
      {},
      { input_activations: { ...token, strategy: "tensor" } },
      {},
      "input_activations.dynamic",
    ],
    [
      "a dynamic cache",
      { kv_cache_scheme: { ...token, strategy: "tensor" } },
      {},
      {},
      "kv_cache_scheme.dynamic is true",
    ],
    [
      "a pattern of Python alone",
      {},
      { targets: ["re:(?P<layer>.*"] },
      {},
      'the target "re:(?P<layer>.*" is a pattern',
    ],
  ])("is refused for %s", (_, top, group, weights, message) => {
    expect(() => read(top, group, weights)).toThrow(
      expect.objectContaining({ code: "QUANTIZATION_UNSUPPORTED", message: expect.stringContaining(message) }),
    );
  });

  test.each<[string, object, object, object, string]>([
    ["no method", { quant_method: null }, {}, {}, "quant_method is null, not the name of a dialect"],
    ["no groups", { config_groups: null }, {}, {}, "config_groups is null"],
    ["no format", { format: null }, {}, {}, "format is null"],
    ["a group size of 0", {}, {}, { group_size: 0 }, "weights.group_size is 0, not an integer from 1"],
    ["bits of a word", {}, {}, { num_bits: "4" }, 'weights.num_bits is "4", not an integer'],
    ["targets that are no list", {}, { targets: "Linear" }, {}, 'group_0.targets is "Linear", not a list of strings'],
    [
      "a lopsided tile",
      { format: "float-quantized" },
      {},
      { ...float, block_structure: [128] },
      "block_structure is [128]",
    ],
    ["another type", {}, {}, { type: "posit" }, 'weights.type is "posit", not int or float'],
  ])("is invalid with %s", (_, top, group, weights, message) => {
    expect(() => read(top, group, weights)).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(message) }),
    );
  });

  test("is invalid if two groups have one target", () => {
    const group = { targets: ["Linear"], weights: { num_bits: 8, type: "int", strategy: "channel" } };
    expect(() => read({ config_groups: { a: group, b: group } })).toThrow("which another group has");
  });
});
