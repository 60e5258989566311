import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sharedData, sharedDataAbsent } from "../test/shared-data.ts";
import { temporaryFolder } from "../test/temporary-folder.ts";
import { namedShape, parseModelConfig, readModelConfig, shapeNames } from "./index.ts";

const base = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 176,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 320,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
};
const parse = (changes: Record<string, unknown> = {}) => parseModelConfig("config.json", { ...base, ...changes });

test("a plain file gets every field, defaults included", () => {
  expect(parse()).toEqual({
    architecture: "LlamaForCausalLM",
    modelType: "llama",
    hiddenSize: 64,
    intermediateSize: 176,
    layerCount: 4,
    headCount: 4,
    kvHeadCount: 2,
    headDim: 16,
    vocabSize: 320,
    contextLength: 512,
    rmsNormEpsilon: 1e-5,
    rope: { kind: "default", theta: 10_000 },
    ropes: Array(4).fill({ kind: "default", theta: 10_000 }),
    tieWordEmbeddings: false,
    attentionBias: false,
    mlpBias: false,
    slidingWindow: undefined,
    windows: Array(4).fill(undefined),
    bosTokenIds: [],
    eosTokenIds: [],
    activation: "silu",
    dtype: undefined,
    raw: base,
  });
});

test("fields that may be null count as absent", () => {
  const config = parse({ head_dim: null, num_key_value_heads: null, rope_scaling: null, eos_token_id: null });
  expect(config).toMatchObject({ headDim: 16, kvHeadCount: 4, rope: { kind: "default" }, eosTokenIds: [] });
});

test("an architecture follows from model_type where the list is absent", () => {
  expect(parse({ architectures: undefined, model_type: "qwen3" }).architecture).toBe("Qwen3ForCausalLM");
  expect(() => parse({ architectures: undefined, model_type: "strange" })).toThrow("architectures is missing");
  expect(() => parse({ architectures: [] })).toThrow("architectures is []");
});

test("dtype is read in its old and its new spelling", () => {
  expect(parse({ torch_dtype: "float16" }).dtype).toBe("float16");
  expect(parse({ dtype: "torch.bfloat16" }).dtype).toBe("bfloat16");
});

describe("the rotary embedding", () => {
  const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 128 };
  const expected = {
    kind: "llama3",
    theta: 500_000,
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContextLength: 128,
  };

  test("is the same from the old and the new form", () => {
    expect(parse({ rope_theta: 5e5, rope_scaling: { rope_type: "llama3", ...llama3 } }).rope).toEqual(expected);
    expect(parse({ rope_theta: 5e5, rope_scaling: { type: "llama3", ...llama3 } }).rope).toEqual(expected);
    expect(parse({ rope_parameters: { rope_type: "llama3", rope_theta: 5e5, ...llama3 } }).rope).toEqual(expected);
    expect(parse({ rope_theta: 5e5, rope_parameters: { rope_type: "llama3", ...llama3 } }).rope).toEqual(expected);
  });

  test("may differ between layer types", () => {
    const { rope, ropes } = parse({
      sliding_window: 32,
      layer_types: ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
      rope_parameters: {
        full_attention: { rope_type: "linear", rope_theta: 1e6, factor: 8 },
        sliding_attention: { rope_type: "default", rope_theta: 1e4 },
      },
    });
    expect(rope).toEqual({ kind: "linear", theta: 1e6, factor: 8 });
    expect(ropes.map(({ theta }) => theta)).toEqual([1e4, 1e6, 1e4, 1e6]);
  });

  test("of kind yarn has the paper's attention factor unless it is given", () => {
    const yarn = (changes = {}) => parse({ rope_scaling: { rope_type: "yarn", factor: 4, ...changes } }).rope;
    expect(yarn()).toEqual({
      kind: "yarn",
      theta: 10_000,
      factor: 4,
      originalContextLength: 512,
      betaFast: 32,
      betaSlow: 1,
      attentionFactor: 0.1 * Math.log(4) + 1,
    });
    expect(yarn({ attention_factor: 1.5 })).toMatchObject({ attentionFactor: 1.5 });
    expect(yarn({ mscale: 0.7, mscale_all_dim: 0.7 })).toMatchObject({ attentionFactor: 1 });
  });

  test("of an unknown kind is refused by name", () => {
    expect(() => parse({ rope_scaling: { rope_type: "dynamic", factor: 2 } })).toThrow(
      'config.json: rope_scaling.rope_type is "dynamic", not a known rope type: default, linear, llama3 or yarn',
    );
    expect(() => parse({ rope_parameters: { rope_type: "llama3", rope_theta: 1e4 } })).toThrow("is missing");
    expect(() => parse({ rope_parameters: { rope_type: "llama3", ...llama3, low_freq_factor: 4 } })).toThrow(
      "rope_parameters.high_freq_factor is 4, not a number above low_freq_factor 4",
    );
    expect(() => parse({ partial_rotary_factor: 0.5 })).toThrow("partial_rotary_factor is 0.5");
  });
});

describe("sliding windows", () => {
  test("hold for every layer of Mistral, and never for Llama", () => {
    expect(parse({ model_type: "mistral", sliding_window: 32 }).windows).toEqual([32, 32, 32, 32]);
    expect(parse({ model_type: "mistral", sliding_window: null }).windows).toEqual(Array(4).fill(undefined));
    expect(parse({ model_type: "llama", sliding_window: 32 }).windows).toEqual(Array(4).fill(undefined));
  });

  test("of Qwen hold from max_window_layers on, and only if switched on", () => {
    const qwen = { model_type: "qwen2", sliding_window: 32, max_window_layers: 3 };
    expect(parse(qwen).windows).toEqual(Array(4).fill(undefined));
    expect(parse({ ...qwen, use_sliding_window: false }).slidingWindow).toBeUndefined();
    expect(parse({ ...qwen, use_sliding_window: true }).windows).toEqual([undefined, undefined, undefined, 32]);
  });

  test("follow layer_types where there are any", () => {
    const types = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"];
    expect(parse({ layer_types: types, sliding_window: 8 }).windows).toEqual([8, undefined, undefined, 8]);
    expect(() => parse({ layer_types: types })).toThrow("sliding_window is missing, not an integer from 1");
    expect(() => parse({ layer_types: types.slice(1) })).toThrow("a list of 4 times");
    expect(() => parse({ layer_types: [...types.slice(1), "chunked_attention"] })).toThrow("a list of 4 times");
  });
});

test.each([
  ["hidden_size", "64", 'config.json: hidden_size is "64", not an integer from 1 to 1048576'],
  ["hidden_size", undefined, "hidden_size is missing, not an integer from 1 to 1048576"],
  ["hidden_size", 65, "hidden_size is 65, not a multiple of num_attention_heads 4, and head_dim is absent"],
  ["num_hidden_layers", 0, "num_hidden_layers is 0, not an integer from 1 to 1024"],
  ["num_hidden_layers", 1e9, "num_hidden_layers is 1000000000, not an integer from 1 to 1024"],
  ["num_attention_heads", 2.5, "num_attention_heads is 2.5, not an integer"],
  ["num_key_value_heads", 3, "num_key_value_heads is 3, not a divisor of num_attention_heads 4"],
  ["num_key_value_heads", 8, "num_key_value_heads is 8, not an integer from 1 to 4"],
  ["head_dim", 15, "head_dim is 15, not even"],
  ["vocab_size", -1, "vocab_size is -1, not an integer from 1"],
  [
    "max_position_embeddings",
    2 ** 53,
    "max_position_embeddings is 9007199254740992, not an integer from 1 to 16777216",
  ],
  ["rms_norm_eps", "1e-5", 'rms_norm_eps is "1e-5", not a number from'],
  ["rope_theta", 0, "rope_theta is 0, not a number from 1"],
  ["rope_scaling", [], "rope_scaling is [], not an object"],
  ["tie_word_embeddings", 1, "tie_word_embeddings is 1, not true or false"],
  ["eos_token_id", 320, "eos_token_id is 320, not a token id, or a list of them, from 0 to 319"],
  ["eos_token_id", [1, "2"], 'eos_token_id is [1,"2"], not a token id'],
  ["hidden_act", 3, "hidden_act is 3, not a string"],
])("%s of %j is refused", (field, value, sentence) => {
  expect(() => parse({ [field]: value })).toThrow(sentence);
  expect(() => parse({ [field]: value })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID", field }));
});

test.each(["gptq", "awq", "fp8", "bitsandbytes"])(
  "a checkpoint quantized in the dialect %s is refused by name",
  (method) => {
    expect(() => parse({ quantization_config: { quant_method: method, bits: 4 } })).toThrow(
      expect.objectContaining({
        code: "QUANTIZATION_UNSUPPORTED",
        field: "quantization_config.quant_method",
        message: `config.json: the checkpoint is quantized in the dialect ${method}, which is not in this release; compressed-tensors is, and so are unquantized checkpoints`,
      }),
    );
  },
);

test.each(["quantization_config", "compression_config"])("%s of compressed-tensors is read", (name) => {
  const weights = { num_bits: 4, type: "int", strategy: "group", group_size: 128 };
  const group = { targets: ["Linear"], weights };
  const { quantization } = parse({
    [name]: {
      quant_method: "compressed-tensors",
      format: "pack-quantized",
      config_groups: { group },
      ignore: ["lm_head"],
    },
  });
  expect(quantization?.schemeOf("model.layers.0.mlp.up_proj")).toEqual({
    weightFormat: { format: "int4", granularity: { kind: "group", size: 128 }, affine: false },
    activations: undefined,
    compression: "pack-quantized",
  });
  expect(quantization?.schemeOf("lm_head")).toBeUndefined();
  expect(parse().quantization).toBeUndefined();
});

test("the scheme of a public checkpoint in another dialect is refused by its method", (context) => {
  const folder = join(sharedData, "quant-configs", "qwen-vl-chat-int4-gptq");
  if (!existsSync(folder)) return context.skip(sharedDataAbsent ?? `SKIPPED: no ${folder}`);
  const { quantization_config: record } = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  expect(() => parse({ quantization_config: record })).toThrow("is quantized in the dialect gptq");
});

test("a folder's end-of-sequence ids come from both files", () => {
  const folder = join(temporaryFolder(), "model");
  mkdirSync(folder);
  expect(() => readModelConfig(folder)).toThrow(expect.objectContaining({ code: "CHECKPOINT_NOT_FOUND" }));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...base, bos_token_id: 1, eos_token_id: 2 }));
  expect(readModelConfig(folder)).toMatchObject({ bosTokenIds: [1], eosTokenIds: [2] });
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: [2, 7] }));
  expect(readModelConfig(folder).eosTokenIds).toEqual([2, 7]);
  writeFileSync(join(folder, "generation_config.json"), JSON.stringify({ eos_token_id: 999 }));
  expect(() => readModelConfig(folder)).toThrow("generation_config.json: eos_token_id is 999");
  writeFileSync(join(folder, "config.json"), "{");
  expect(() => readModelConfig(folder)).toThrow("config.json: is not JSON");
});

test.each(shapeNames)("the shape %s is a valid configuration", (name) => {
  const shape = namedShape(name);
  expect(shape.headCount * shape.headDim).toBe(shape.hiddenSize);
  expect(shape.intermediateSize % 128).toBe(0);
});

test("shapes have about as many parameters as their names say", () => {
  const parameters = (name: string) => {
    const shape = namedShape(name);
    const attention = 2 * shape.hiddenSize * shape.headDim * (shape.headCount + shape.kvHeadCount);
    const layer = attention + 3 * shape.hiddenSize * shape.intermediateSize;
    const embeddings = shape.vocabSize * shape.hiddenSize * (shape.tieWordEmbeddings ? 1 : 2);
    return (shape.layerCount * layer + embeddings) / 1e9;
  };
  const billions = {
    "llama2-7b": 6.74,
    "llama3-8b": 8.03,
    "llama3-70b": 70.6,
    "qwen2.5-0.5b": 0.49,
    "tinyllama-1.1b": 1.1,
    "llama3.2-1b": 1.24,
  };
  for (const [name, expected] of Object.entries(billions)) expect(parameters(name) / expected).toBeCloseTo(1, 1);
  expect(() => namedShape("llama9")).toThrow('no shape is called "llama9"; there are llama2-7b');
});
