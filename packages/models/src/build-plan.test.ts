import { namedShape, parseModelConfig } from "@kvant/checkpoint";
import { describe, expect, test } from "vitest";
import { buildPlan } from "./build-plan.ts";
import { describeScheme, schemeLines } from "./describe-scheme.ts";
import { resolveScheme } from "./scheme.ts";

const base = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 50,
  max_position_embeddings: 128,
};

function config(fields: Record<string, unknown> = {}) {
  return parseModelConfig("config.json", { ...base, ...fields });
}

const int8 = resolveScheme({ weights: "int8", kvFormat: "int8" }, "bf16");

/** A checkpoint that holds nothing but these scales. */
function scales(tensors: Readonly<Record<string, number[]>>) {
  return {
    tensors: new Map(
      Object.entries(tensors).map(([name, values]) => [
        name,
        { name, dtype: "F32" as const, shape: [values.length], bytes: 4 * values.length },
      ]),
    ),
    readFloat32: (name: string) => Float32Array.from(tensors[name]!),
  };
}

test("a tied head is a matrix of its own with the embedding's name", () => {
  const { plan } = buildPlan(config({ tie_word_embeddings: true }), int8);
  const named = plan.weights.filter(({ name }) => name === "model.embed_tokens.weight");
  expect(named.map((weight) => [weight.class, weight.format.format])).toEqual([
    ["embedding", "bf16"],
    ["head", "int8"],
  ]);
});

test("layers with different windows go to different KV groups", () => {
  const layer_types = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"];
  const { plan, kvLayers } = buildPlan(config({ layer_types, sliding_window: 32 }), int8);
  expect(plan.kvGroups.map(({ window, layerCount }) => [window, layerCount])).toEqual([
    [32, 2],
    [undefined, 2],
  ]);
  expect(kvLayers).toEqual([
    { group: 0, layer: 0 },
    { group: 1, layer: 0 },
    { group: 0, layer: 1 },
    { group: 1, layer: 1 },
  ]);
});

test.each([
  ["LlamaForCausalLM", {}, []],
  ["LlamaForCausalLM", { attention_bias: true, mlp_bias: true }, ["q", "k", "v", "o", "gate", "up", "down"]],
  ["MistralForCausalLM", {}, []],
  ["Qwen2ForCausalLM", {}, ["q", "k", "v"]],
  ["Qwen3ForCausalLM", {}, []],
])("%s %j has biases on %j", (name, fields, parts) => {
  const { plan } = buildPlan(config({ architectures: [name], ...fields }), int8);
  const biases = plan.weights.filter((weight) => weight.class === "bias" && weight.name.startsWith("model.layers.0."));
  expect(biases.map((weight) => weight.name.match(/(\w+)_proj\.bias$/)![1])).toEqual(parts);
});

test("Qwen3 norms every query and key head", () => {
  const { plan } = buildPlan(config({ architectures: ["Qwen3ForCausalLM"], head_dim: 32 }), int8);
  const norms = plan.weights.filter(({ name }) => /layers\.0\.self_attn\.[qk]_norm\.weight$/.test(name));
  expect(norms.map(({ cols }) => cols)).toEqual([32, 32]);
});

describe("static scales", () => {
  test.each(["int8", "e4m3"] as const)("of %s activations are taken where the checkpoint has them", (format) => {
    const source = scales({ "model.layers.1.mlp.down_proj.input_scale": [0.25] });
    const scheme = resolveScheme({ weights: `${format}-channel`, activations: format }, "bf16");
    const { plan } = buildPlan(config(), scheme, { scales: source });
    const activation = (name: string) => plan.weights.find((weight) => weight.name === name)!.activation;
    expect(activation("model.layers.1.mlp.down_proj.weight")).toEqual({ format, scale: 0.25 });
    expect(activation("model.layers.0.mlp.down_proj.weight")).toEqual({ format, scale: "token" });
  });

  test("of the cache are missing by name, and never 1", () => {
    const scheme = resolveScheme({ weights: "int8", kvFormat: "int8", kvScales: "tensor" }, "bf16");
    const tensors = Object.fromEntries(
      [0, 1, 2].flatMap((layer) =>
        ["k", "v"].map((part) => [`model.layers.${layer}.self_attn.${part}_scale`, [0.1 + layer]]),
      ),
    );
    const missing = { code: "SCALE_MISSING", field: "model.layers.3.self_attn.k_scale" };
    expect(() => buildPlan(config(), scheme, { scales: scales(tensors) })).toThrow(expect.objectContaining(missing));
    const complete = { ...tensors, [missing.field]: [3.5], "model.layers.3.self_attn.v_scale": [4.5] };
    const [group] = buildPlan(config(), scheme, { scales: scales(complete) }).plan.kvGroups;
    expect(group!.scales).toMatchObject({ kind: "tensor", k: Float32Array.of(0.1, 1.1, 2.1, 3.5) });
  });

  test("that are no positive numbers are refused", () => {
    const source = scales({ "model.layers.0.self_attn.q_proj.input_scale": [0] });
    expect(() => buildPlan(config(), int8, { scales: source })).toThrow("holds 0, which is no positive number");
  });
});

describe("impossible requests", () => {
  test("unknown architectures list the known ones", () => {
    expect(() => buildPlan(config({ architectures: ["GPT2LMHeadModel"] }), int8)).toThrow(
      'no architecture is called "GPT2LMHeadModel"; there are LlamaForCausalLM, MistralForCausalLM',
    );
  });

  test("another activation function than SiLU is refused", () => {
    expect(() => buildPlan(config({ hidden_act: "gelu" }), int8)).toThrow('hidden_act is "gelu"');
  });

  test("a context beyond the model's is refused", () => {
    expect(() => buildPlan(config(), int8, { contextLength: 129 })).toThrow(
      "129 tokens is not within the model's 1 to 128",
    );
    expect(buildPlan(config(), int8, { contextLength: 64 }).plan.contextLength).toBe(64);
  });
});

test("taps carry the name of the tensor whose input they hand out", () => {
  const { plan } = buildPlan(config(), int8, { tap: (name) => name.endsWith("layers.2.mlp.down_proj.weight") });
  expect(plan.ops.filter(({ op }) => op === "tap")).toEqual([
    { op: "tap", name: "model.layers.2.mlp.down_proj.weight", x: expect.any(Number) },
  ]);
});

test("the description says per class what is quantized and what is not", () => {
  const { plan } = buildPlan(namedShape("tinyllama-1.1b"), int8);
  const rows = describeScheme(plan);
  expect(rows.map((row) => [row.class, row.format, row.activations, row.isQuantized, row.tensorCount])).toEqual([
    ["embedding", "bf16", undefined, false, 1],
    ["norm", "fp32", undefined, false, 45],
    ["linear", "int8-channel", "int8 (per token)", true, 154],
    ["head", "int8-channel", "int8 (per token)", true, 1],
  ]);
  expect(rows[2]!.codeBytes).toBe(rows[2]!.parameterCount);
  expect(schemeLines(rows)[2]).toMatch(
    /^linear +int8-channel +x int8 \(per token\) +154 tensors +97\d\.\d\d MB +quantized$/,
  );
});
