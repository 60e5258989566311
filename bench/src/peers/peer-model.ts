import {
  encodeGgml,
  type GgmlType,
  type GgufTensor,
  type GgufValue,
  type ModelConfig,
  writeGguf,
} from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { ropeTable } from "@kvant/models";

/** GGUF names of the architectures that peers run at named shapes. */
const architectures: Readonly<Record<string, string>> = { LlamaForCausalLM: "llama", Qwen2ForCausalLM: "qwen2" };

/** Values of the random stream that tensors are cut from; a multiple of every block. */
const period = 1 << 20;

/**
 * Writes a GGUF file of a shape with random weights and a synthetic vocabulary. Matrices have the type asked for; the head
 * keeps at least 8 bits, as Kvant's own does, and norms and biases are F32.
 * @throws KvantError INVALID_ARGUMENT for an architecture that is not written
 */
export function writePeerModel(path: string, name: string, config: ModelConfig, type: GgmlType): void {
  const architecture = architectures[config.architecture];
  if (architecture === undefined) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `no GGUF file is written for ${config.architecture}; there are ${Object.keys(architectures).join(", ")}`,
    );
  }
  writeGguf(path, metadataOf(architecture, name, config), tensorsOf(config, type));
}

function metadataOf(architecture: string, name: string, config: ModelConfig): ReadonlyMap<string, GgufValue> {
  const count = (value: number): GgufValue => ({ type: "uint32", value });
  const own: readonly (readonly [string, GgufValue])[] = [
    ["context_length", count(config.contextLength)],
    ["embedding_length", count(config.hiddenSize)],
    ["block_count", count(config.layerCount)],
    ["feed_forward_length", count(config.intermediateSize)],
    ["attention.head_count", count(config.headCount)],
    ["attention.head_count_kv", count(config.kvHeadCount)],
    ["attention.key_length", count(config.headDim)],
    ["attention.value_length", count(config.headDim)],
    ["attention.layer_norm_rms_epsilon", { type: "float32", value: config.rmsNormEpsilon }],
    ["rope.dimension_count", count(config.headDim)],
    ["rope.freq_base", { type: "float32", value: config.rope.theta }],
    ["vocab_size", count(config.vocabSize)],
  ];
  return new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: architecture }],
    ["general.name", { type: "string", value: `${name}, random weights` }],
    ...own.map(([key, value]) => [`${architecture}.${key}`, value] as const),
    ...vocabulary(config.vocabSize),
  ]);
}

/** Three special tokens, the 256 bytes, then made-up words: what a SentencePiece vocabulary must have. */
function vocabulary(size: number): readonly (readonly [string, GgufValue])[] {
  const [normal, unknown, control, byte] = [1, 2, 3, 6];
  const first = ["<unk>", "<s>", "</s>"];
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);
  const start = [...first, ...bytes];
  const tokens = Array.from({ length: size }, (_, id) => start[id] ?? `\u2581w${id}`);
  const typeOf = (id: number): number => {
    if (id === 0) return unknown;
    if (id < first.length) return control;
    return id < start.length ? byte : normal;
  };
  return [
    ["tokenizer.ggml.model", { type: "string", value: "llama" }],
    ["tokenizer.ggml.tokens", { type: "strings", values: tokens }],
    ["tokenizer.ggml.scores", { type: "float32s", values: tokens.map((_, id) => -id) }],
    ["tokenizer.ggml.token_type", { type: "int32s", values: tokens.map((_, id) => typeOf(id)) }],
    ["tokenizer.ggml.unknown_token_id", { type: "uint32", value: 0 }],
    ["tokenizer.ggml.bos_token_id", { type: "uint32", value: 1 }],
    ["tokenizer.ggml.eos_token_id", { type: "uint32", value: 2 }],
  ];
}

function tensorsOf(config: ModelConfig, type: GgmlType): readonly GgufTensor[] {
  const { hiddenSize, intermediateSize, headCount, kvHeadCount, headDim, vocabSize } = config;
  const random = randomBlocks();
  let tensorCount = 0;
  const matrix = (name: string, rows: number, cols: number, of: GgmlType = type): GgufTensor => {
    const offset = ++tensorCount * 7919 * 32;
    return { name: `${name}.weight`, type: of, shape: [rows, cols], data: () => random(of, offset, rows * cols) };
  };
  const vector = (name: string, values: Float32Array): GgufTensor => ({
    name,
    type: "F32",
    shape: [values.length],
    data: () => [encodeGgml("F32", values)],
  });
  const norm = (name: string) => vector(`${name}.weight`, new Float32Array(hiddenSize).fill(1));
  const head = type === "Q4_0" ? "Q8_0" : type;
  const [qWidth, kvWidth] = [headCount * headDim, kvHeadCount * headDim];
  const tensors: GgufTensor[] = [matrix("token_embd", vocabSize, hiddenSize, config.tieWordEmbeddings ? head : type)];
  if (config.rope.kind !== "default") tensors.push(vector("rope_freqs.weight", ropeFactors(config)));
  for (let layer = 0; layer < config.layerCount; layer++) {
    const block = `blk.${layer}`;
    tensors.push(
      norm(`${block}.attn_norm`),
      matrix(`${block}.attn_q`, qWidth, hiddenSize),
      matrix(`${block}.attn_k`, kvWidth, hiddenSize),
      matrix(`${block}.attn_v`, kvWidth, hiddenSize),
      matrix(`${block}.attn_output`, hiddenSize, qWidth),
      norm(`${block}.ffn_norm`),
      matrix(`${block}.ffn_gate`, intermediateSize, hiddenSize),
      matrix(`${block}.ffn_up`, intermediateSize, hiddenSize),
      matrix(`${block}.ffn_down`, hiddenSize, intermediateSize),
    );
    if (config.architecture !== "Qwen2ForCausalLM") continue;
    tensors.push(vector(`${block}.attn_q.bias`, new Float32Array(qWidth)));
    for (const part of ["k", "v"]) tensors.push(vector(`${block}.attn_${part}.bias`, new Float32Array(kvWidth)));
  }
  tensors.push(norm("output_norm"));
  if (!config.tieWordEmbeddings) tensors.push(matrix("output", vocabSize, hiddenSize, head));
  return tensors;
}

/** What llama.cpp divides each plain frequency by. */
function ropeFactors({ rope, headDim }: ModelConfig): Float32Array {
  const { inverseFrequencies } = ropeTable(rope, headDim);
  return inverseFrequencies.map((frequency, i) => rope.theta ** ((-2 * i) / headDim) / frequency);
}

/** Pieces of one encoded random stream per type, from an offset on, around and around. */
function randomBlocks(): (type: GgmlType, offset: number, count: number) => Iterable<Uint8Array> {
  const streams = new Map<GgmlType, Uint8Array>();
  return function* (type, offset, count) {
    const stream = streams.get(type) ?? encodeGgml(type, randomValues());
    streams.set(type, stream);
    const bytesPerValue = stream.length / period;
    let at = (offset % period) * bytesPerValue;
    for (let left = count * bytesPerValue; left > 0; at = 0) {
      const piece = stream.subarray(at, Math.min(stream.length, at + left));
      yield piece;
      left -= piece.length;
    }
  };
}

/** Uniform, of a magnitude at which activations neither vanish nor overflow. */
function randomValues(): Float32Array {
  let state = 0x9e3779b9;
  return Float32Array.from({ length: period }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state / 2 ** 31) * 0.04;
  });
}
