import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { expect, test } from "vitest";
import { tinyModelName, tinyModelPath } from "./index.ts";

interface Config {
  readonly vocab_size: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly max_position_embeddings: number;
  readonly bos_token_id: number;
  readonly eos_token_id: number;
}

interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

interface TokenizerFile {
  readonly added_tokens: readonly { readonly id: number; readonly content: string }[];
  readonly model: { readonly vocab: Readonly<Record<string, number>> };
}

interface TokenizerConfig {
  readonly bos_token: string;
  readonly eos_token: string;
  readonly chat_template: string;
}

interface Golden {
  readonly prompts: readonly {
    readonly inputIds: readonly number[];
    readonly topIds: readonly number[];
    readonly topLogits: readonly number[];
    readonly greedyIds: readonly number[];
    readonly smallestMargin: number;
  }[];
  readonly test: Readonly<Record<string, { readonly bitsPerByte: number }>>;
}

/** The package may weigh at most this much: it is part of every installation. */
const WEIGHTS_BYTES_LIMIT = 16_000_000;
const BITS_PER_BYTE_LIMIT = 1.78;

const weightsPath = join(tinyModelPath, "model.safetensors");
const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;
const config = readJson<Config>(join(tinyModelPath, "config.json"));
const golden = readJson<Golden>(join(tinyModelPath, "../test/golden.json"));

function readHeader(): { tensors: Map<string, TensorEntry>; dataBytes: number } {
  const file = openSync(weightsPath, "r");
  try {
    const length = Buffer.alloc(8);
    readSync(file, length, 0, 8, 0);
    const header = Buffer.alloc(Number(length.readBigUInt64LE()));
    readSync(file, header, 0, header.length, 8);
    const entries = Object.entries(JSON.parse(header.toString("utf8")) as Record<string, TensorEntry>);
    const tensors = new Map(entries.filter(([name]) => name !== "__metadata__"));
    return { tensors, dataBytes: fstatSync(file).size - 8 - header.length };
  } finally {
    closeSync(file);
  }
}

function llamaShapes(): Map<string, number[]> {
  const { hidden_size: hidden, intermediate_size: ffn, head_dim: headDim } = config;
  const queries = config.num_attention_heads * headDim;
  const keys = config.num_key_value_heads * headDim;
  const shapes = new Map([
    ["model.embed_tokens.weight", [config.vocab_size, hidden]],
    ["model.norm.weight", [hidden]],
  ]);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.set(`${prefix}.input_layernorm.weight`, [hidden]);
    shapes.set(`${prefix}.post_attention_layernorm.weight`, [hidden]);
    shapes.set(`${prefix}.self_attn.q_proj.weight`, [queries, hidden]);
    shapes.set(`${prefix}.self_attn.k_proj.weight`, [keys, hidden]);
    shapes.set(`${prefix}.self_attn.v_proj.weight`, [keys, hidden]);
    shapes.set(`${prefix}.self_attn.o_proj.weight`, [hidden, queries]);
    shapes.set(`${prefix}.mlp.gate_proj.weight`, [ffn, hidden]);
    shapes.set(`${prefix}.mlp.up_proj.weight`, [ffn, hidden]);
    shapes.set(`${prefix}.mlp.down_proj.weight`, [hidden, ffn]);
  }
  return shapes;
}

test("the path is absolute and the folder holds every file a loader looks for", () => {
  expect(tinyModelName).toBe("tiny");
  expect(isAbsolute(tinyModelPath)).toBe(true);
  for (const name of ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]) {
    expect(statSync(join(tinyModelPath, name)).size, name).toBeGreaterThan(0);
  }
});

test("the weights take at most 16 MB", () => {
  expect(statSync(weightsPath).size).toBeLessThanOrEqual(WEIGHTS_BYTES_LIMIT);
});

test("the weights are exactly the BF16 tensors that config.json describes", () => {
  const { tensors, dataBytes } = readHeader();
  const shapes = llamaShapes();
  expect([...tensors.keys()].sort()).toEqual([...shapes.keys()].sort());
  let bytes = 0;
  for (const [
    name,
    {
      dtype,
      shape,
      data_offsets: [begin, end],
    },
  ] of tensors) {
    expect(dtype, name).toBe("BF16");
    expect(shape, name).toEqual(shapes.get(name));
    expect(end - begin, name).toBe(2 * shape.reduce((product, size) => product * size, 1));
    bytes += end - begin;
  }
  expect(bytes).toBe(dataBytes);
});

test("every inner dimension is a multiple of 128, so every group size applies", () => {
  for (const shape of llamaShapes().values()) {
    for (const size of shape) expect(size % 128).toBe(0);
  }
  expect(config.head_dim).toBe(64);
  expect(config.num_attention_heads % config.num_key_value_heads).toBe(0);
  expect(config.max_position_embeddings).toBeGreaterThanOrEqual(1024);
});

test("the tokenizer has one token for each row of the embedding and names the special ones", () => {
  const tokenizer = readJson<TokenizerFile>(join(tinyModelPath, "tokenizer.json"));
  const names = readJson<TokenizerConfig>(join(tinyModelPath, "tokenizer_config.json"));
  const ids = Object.values(tokenizer.model.vocab).sort((a, b) => a - b);
  expect(ids).toEqual(Array.from({ length: config.vocab_size }, (_, id) => id));
  expect(tokenizer.model.vocab[names.bos_token]).toBe(config.bos_token_id);
  expect(tokenizer.model.vocab[names.eos_token]).toBe(config.eos_token_id);
  expect(tokenizer.added_tokens.map((token) => token.content)).toEqual([names.bos_token, names.eos_token]);
  expect(names.chat_template).toContain("bos_token");
});

test("the golden rows begin with BOS and continue with the most likely token", () => {
  expect(golden.prompts.length).toBeGreaterThan(0);
  for (const { inputIds, topIds, topLogits, greedyIds, smallestMargin } of golden.prompts) {
    expect(inputIds[0]).toBe(config.bos_token_id);
    expect(greedyIds[0]).toBe(topIds[0]);
    expect([...topLogits].sort((a, b) => b - a)).toEqual(topLogits);
    expect(smallestMargin).toBeGreaterThan(0);
  }
});

test("both test novels score at most 1.78 bits per byte", () => {
  const scores = Object.values(golden.test).map((score) => score.bitsPerByte);
  expect(scores).toHaveLength(2);
  for (const score of scores) expect(score).toBeLessThanOrEqual(BITS_PER_BYTE_LIMIT);
});
