import { KvantError } from "@kvant/core";
import { type ModelConfig, parseModelConfig } from "./model-config.ts";

const llama = { architectures: ["LlamaForCausalLM"], model_type: "llama", rms_norm_eps: 1e-5, dtype: "bfloat16" };

// Shapes of public models, as their config.json files state them, for measuring without downloading weights.
const shapes: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "llama2-7b": {
    ...llama,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    vocab_size: 32000,
    max_position_embeddings: 4096,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  "llama3-8b": {
    ...llama,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    vocab_size: 128256,
    max_position_embeddings: 8192,
    rope_theta: 500000,
    bos_token_id: 128000,
    eos_token_id: 128001,
  },
  "llama3-70b": {
    ...llama,
    hidden_size: 8192,
    intermediate_size: 28672,
    num_hidden_layers: 80,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    vocab_size: 128256,
    max_position_embeddings: 8192,
    rope_theta: 500000,
    bos_token_id: 128000,
    eos_token_id: 128001,
  },
  "qwen2.5-0.5b": {
    architectures: ["Qwen2ForCausalLM"],
    model_type: "qwen2",
    dtype: "bfloat16",
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    vocab_size: 151936,
    max_position_embeddings: 32768,
    rms_norm_eps: 1e-6,
    rope_theta: 1000000,
    tie_word_embeddings: true,
    bos_token_id: 151643,
    eos_token_id: 151643,
  },
  "tinyllama-1.1b": {
    ...llama,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 22,
    num_attention_heads: 32,
    num_key_value_heads: 4,
    vocab_size: 32000,
    max_position_embeddings: 2048,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  "llama3.2-1b": {
    ...llama,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: 128256,
    max_position_embeddings: 131072,
    rope_parameters: {
      rope_type: "llama3",
      rope_theta: 500000,
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
    tie_word_embeddings: true,
    bos_token_id: 128000,
    eos_token_id: 128001,
  },
};

/** The names that `namedShape` knows. */
export const shapeNames: readonly string[] = Object.keys(shapes);

/**
 * The configuration of a public model by its name, for runs with random weights.
 * @throws KvantError INVALID_ARGUMENT, listing the names
 */
export function namedShape(name: string): ModelConfig {
  const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
  if (shape !== undefined) return parseModelConfig(`shape ${name}`, shape);
  throw new KvantError("INVALID_ARGUMENT", `no shape is called "${name}"; there are ${shapeNames.join(", ")}`);
}
