import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ModelConfig, namedShape } from "@kvant/checkpoint";
import { afterAll, expect, test } from "vitest";
import { dequantizeBlocks, readGguf } from "../../../packages/checkpoint/test/read-gguf.ts";
import { writePeerModel } from "./peer-model.ts";

const folder = mkdtempSync(join(tmpdir(), "kvant-peer-model-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "model.gguf");

function small(shape: string): ModelConfig {
  const sizes = { hiddenSize: 64, intermediateSize: 96, layerCount: 2, headCount: 4, kvHeadCount: 2, headDim: 16 };
  return { ...namedShape(shape), ...sizes, vocabSize: 300 };
}

test("a llama file has every tensor in its type, the head in 8 bits, and a vocabulary with all bytes", () => {
  writePeerModel(path, "tinyllama-1.1b", small("tinyllama-1.1b"), "Q4_0");
  const { metadata, tensors } = readGguf(readFileSync(path));
  expect(metadata.get("general.architecture")).toBe("llama");
  expect(metadata.get("llama.attention.head_count_kv")).toBe(2);
  const tokens = metadata.get("tokenizer.ggml.tokens") as string[];
  expect(tokens).toHaveLength(300);
  expect(tokens[3 + 0x0a]).toBe("<0x0A>");
  expect(new Set(tokens).size).toBe(300);
  expect(tensors.size).toBe(1 + 2 * 9 + 2);
  expect(tensors.get("blk.1.ffn_down.weight")).toMatchObject({ type: 2, dimensions: [96, 64] });
  expect(tensors.get("blk.0.attn_k.weight")).toMatchObject({ type: 2, dimensions: [64, 32] });
  expect(tensors.get("output.weight")).toMatchObject({ type: 8, dimensions: [64, 300] });
  expect(tensors.get("output_norm.weight")).toMatchObject({ type: 0, dimensions: [64] });
});

test("weights are random: no two matrices alike, values of both signs", () => {
  writePeerModel(path, "tinyllama-1.1b", small("tinyllama-1.1b"), "Q8_0");
  const { tensors } = readGguf(readFileSync(path));
  const [gate, up] = ["gate", "up"].map((part) => tensors.get(`blk.0.ffn_${part}.weight`)!.data);
  expect(Buffer.compare(gate!, up!)).not.toBe(0);
  const values = dequantizeBlocks(8, gate!);
  expect(Math.max(...values)).toBeGreaterThan(0.03);
  expect(Math.min(...values)).toBeLessThan(-0.03);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  expect(Math.abs(mean)).toBeLessThan(0.002);
});

test("tied heads, biases and scaled rotary frequencies follow the shape", () => {
  writePeerModel(path, "qwen2.5-0.5b", small("qwen2.5-0.5b"), "F16");
  const qwen = readGguf(readFileSync(path)).tensors;
  expect(qwen.has("output.weight")).toBe(false);
  expect(qwen.get("blk.0.attn_q.bias")).toMatchObject({ type: 0, dimensions: [64] });
  expect(qwen.get("token_embd.weight")!.type).toBe(1);

  writePeerModel(path, "llama3.2-1b", small("llama3.2-1b"), "Q4_0");
  const llama = readGguf(readFileSync(path)).tensors;
  const { data } = llama.get("rope_freqs.weight")!;
  const factors = new Float32Array(new Uint8Array(data).buffer);
  expect(factors).toHaveLength(8);
  expect(factors[0]).toBeCloseTo(1, 5); // the fastest pair is kept
  expect(factors[7]).toBeCloseTo(32, 3); // the slowest is stretched by the whole factor
  expect(llama.get("token_embd.weight")!.type).toBe(8);
});

test("an architecture without a GGUF twin is refused by name", () => {
  const config = { ...small("tinyllama-1.1b"), architecture: "Gemma2ForCausalLM" };
  expect(() => writePeerModel(path, "x", config, "F16")).toThrow(
    "no GGUF file is written for Gemma2ForCausalLM; there are LlamaForCausalLM, Qwen2ForCausalLM",
  );
});
