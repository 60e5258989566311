import { existsSync } from "node:fs";
import { join } from "node:path";
import { limit } from "@kvant/core";
import { parseQuantizationConfig, type QuantizationConfig } from "./compressed-tensors/parse-quantization-config.ts";
import { type ConfigFields, configFields } from "./config-fields.ts";
import { readJsonObject } from "./json-file.ts";
import { type LayerType, type RopeConfig, readRope } from "./rope-config.ts";

/** The shape and constants of a decoder model, the same whatever year its config.json is from. */
export interface ModelConfig {
  /** The class name that the checkpoint was saved from, such as `LlamaForCausalLM`. */
  readonly architecture: string;
  /** `model_type` of the file, such as `llama`; empty if absent. */
  readonly modelType: string;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layerCount: number;
  readonly headCount: number;
  /** Key and value heads; divides `headCount`. */
  readonly kvHeadCount: number;
  /** Even. Not always `hiddenSize / headCount`. */
  readonly headDim: number;
  readonly vocabSize: number;
  /** Tokens: prompt and output together. */
  readonly contextLength: number;
  readonly rmsNormEpsilon: number;
  /** The rotary embedding of full-attention layers. */
  readonly rope: RopeConfig;
  /** [layerCount]; the same object as `rope` in most models. */
  readonly ropes: readonly RopeConfig[];
  readonly tieWordEmbeddings: boolean;
  /** Biases on the attention projections as the file says; Qwen2 has them on q, k and v without saying so. */
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  /** The model's sliding window in tokens, if any layer uses one. */
  readonly slidingWindow: number | undefined;
  /** [layerCount] window of each layer in tokens, its own token included; `undefined` for full attention. */
  readonly windows: readonly (number | undefined)[];
  readonly bosTokenIds: readonly number[];
  /** Every id that ends a sequence, from config.json and generation_config.json together. */
  readonly eosTokenIds: readonly number[];
  /** Activation of the feed-forward layer, such as `silu`. */
  readonly activation: string;
  /** Format of the stored weights as the file names it, such as `bfloat16`. */
  readonly dtype: string | undefined;
  /** How the checkpoint's weights are quantized; `undefined` if they are not. */
  readonly quantization: QuantizationConfig | undefined;
  /** The whole of config.json, for what only one architecture knows. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/**
 * Reads `config.json` of a model folder, and the end-of-sequence ids of `generation_config.json` where there is one.
 * @throws KvantError CHECKPOINT_NOT_FOUND, CONFIG_INVALID; QUANTIZATION_UNSUPPORTED for quantized checkpoints of other dialects
 * than compressed-tensors
 */
export function readModelConfig(folder: string): ModelConfig {
  const path = join(folder, "config.json");
  const config = parseModelConfig(path, readJsonObject(path, "CONFIG_INVALID"));
  const generationPath = join(folder, "generation_config.json");
  if (!existsSync(generationPath)) return config;
  const generation = configFields(generationPath, readJsonObject(generationPath, "CONFIG_INVALID"));
  const eosTokenIds = new Set([...config.eosTokenIds, ...tokenIds(generation, "eos_token_id", config.vocabSize)]);
  return { ...config, eosTokenIds: [...eosTokenIds] };
}

/**
 * Checks and normalises the content of a config.json; `source` names it in errors.
 * @throws KvantError CONFIG_INVALID, QUANTIZATION_UNSUPPORTED
 */
export function parseModelConfig(source: string, raw: Readonly<Record<string, unknown>>): ModelConfig {
  const fields = configFields(source, raw);
  const dimension = { min: 1, max: limit("modelDimension") };
  const hiddenSize = fields.integer("hidden_size", dimension);
  const headCount = fields.integer("num_attention_heads", dimension);
  const kvHeadCount = fields.integer("num_key_value_heads", { min: 1, max: headCount, absent: headCount });
  if (headCount % kvHeadCount !== 0)
    fields.fail("num_key_value_heads", `a divisor of num_attention_heads ${headCount}`);
  const layerCount = fields.integer("num_hidden_layers", { min: 1, max: limit("modelLayers") });
  const vocabSize = fields.integer("vocab_size", { min: 1, max: limit("vocabulary") });
  const modelType = fields.string("model_type") ?? "";
  const layerTypes = readLayerTypes(fields, modelType, layerCount);
  const slidingWindow = layerTypes.includes("sliding_attention")
    ? fields.integer("sliding_window", { min: 1, max: limit("contextTokens") })
    : undefined;
  const ropes = readRope(fields);
  return {
    architecture: readArchitecture(fields),
    modelType,
    hiddenSize,
    intermediateSize: fields.integer("intermediate_size", dimension),
    layerCount,
    headCount,
    kvHeadCount,
    headDim: readHeadDim(fields, hiddenSize, headCount),
    vocabSize,
    contextLength: fields.integer("max_position_embeddings", { min: 1, max: limit("contextTokens") }),
    rmsNormEpsilon: fields.number("rms_norm_eps", { min: 1e-12, max: 1, absent: 1e-6 }),
    rope: ropes.full_attention,
    ropes: layerTypes.map((type) => ropes[type]),
    tieWordEmbeddings: fields.boolean("tie_word_embeddings", false),
    attentionBias: fields.boolean("attention_bias", false),
    mlpBias: fields.boolean("mlp_bias", false),
    slidingWindow,
    windows: layerTypes.map((type) => (type === "sliding_attention" ? slidingWindow : undefined)),
    bosTokenIds: tokenIds(fields, "bos_token_id", vocabSize),
    eosTokenIds: tokenIds(fields, "eos_token_id", vocabSize),
    activation: fields.string("hidden_act") ?? fields.string("hidden_activation") ?? "silu",
    dtype: (fields.string("dtype") ?? fields.string("torch_dtype"))?.replace(/^torch\./, ""),
    quantization: readQuantization(source, fields),
    raw,
  };
}

function readQuantization(source: string, fields: ConfigFields): QuantizationConfig | undefined {
  // Early files of compressed-tensors call it by its second name.
  const name = fields.has("quantization_config") ? "quantization_config" : "compression_config";
  const quantization = fields.nested(name);
  return quantization && parseQuantizationConfig(source, quantization.record, `${name}.`);
}

const architectureOf = new Map([
  ["llama", "LlamaForCausalLM"],
  ["mistral", "MistralForCausalLM"],
  ["qwen2", "Qwen2ForCausalLM"],
  ["qwen3", "Qwen3ForCausalLM"],
]);

function readArchitecture(fields: ConfigFields): string {
  const { architectures } = fields.record;
  if (!fields.has("architectures")) {
    const implied = architectureOf.get(fields.string("model_type") ?? "");
    if (implied !== undefined) return implied;
  }
  if (Array.isArray(architectures) && typeof architectures[0] === "string" && architectures[0] !== "") {
    return architectures[0];
  }
  return fields.fail("architectures", "a list that begins with a class name such as LlamaForCausalLM");
}

function readHeadDim(fields: ConfigFields, hiddenSize: number, headCount: number): number {
  if (!fields.has("head_dim") && hiddenSize % headCount !== 0) {
    return fields.fail("hidden_size", `a multiple of num_attention_heads ${headCount}, and head_dim is absent`);
  }
  const headDim = fields.integer("head_dim", { min: 2, max: limit("modelDimension"), absent: hiddenSize / headCount });
  if (headDim % 2 !== 0) fields.fail("head_dim", `even: the rotary embedding turns pairs, and ${headDim} is odd`);
  return headDim;
}

// These files carry a window that counts only where `use_sliding_window` says so, and then from `max_window_layers` on.
const windowIsOptIn = /^qwen[23]/;
// Llama has no windows whatever its file says.
const windowless = /^llama$/;

function readLayerTypes(fields: ConfigFields, modelType: string, layerCount: number): readonly LayerType[] {
  if (fields.has("layer_types")) {
    const types = fields.record.layer_types;
    const known = (type: unknown): type is LayerType => type === "full_attention" || type === "sliding_attention";
    if (!Array.isArray(types) || types.length !== layerCount || !types.every(known)) {
      return fields.fail("layer_types", `a list of ${layerCount} times full_attention or sliding_attention`);
    }
    return types;
  }
  const optIn = windowIsOptIn.test(modelType);
  const used =
    fields.boolean("use_sliding_window", !optIn) && fields.has("sliding_window") && !windowless.test(modelType);
  const firstWindowed = optIn ? fields.integer("max_window_layers", { min: 0, max: 1e6, absent: 28 }) : 0;
  return Array.from({ length: layerCount }, (_, layer) =>
    used && layer >= firstWindowed ? "sliding_attention" : "full_attention",
  );
}

/** Token ids given as one number, as a list, or as null. */
function tokenIds(fields: ConfigFields, name: string, vocabSize: number): readonly number[] {
  if (!fields.has(name)) return [];
  const value = fields.record[name];
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  const isToken = (id: unknown): id is number =>
    Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < vocabSize;
  if (!ids.every(isToken)) return fields.fail(name, `a token id, or a list of them, from 0 to ${vocabSize - 1}`);
  return [...new Set(ids)];
}
