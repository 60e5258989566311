import { openCheckpoint, readModelConfig } from "@kvant/checkpoint";
import { type LayerTensors, valuesTap } from "@kvant/quantizers";
import { tinyModelPath } from "@kvant/tiny-model";
import { afterAll, expect, test } from "vitest";
import { openForwardPass } from "../open-forward-pass.ts";
import { LayerRunner } from "./layer-runner.ts";

const config = readModelConfig(tinyModelPath);
const checkpoint = openCheckpoint(tinyModelPath);
afterAll(() => checkpoint.close());

const tokenIds = Int32Array.from({ length: 40 }, (_, i) => (i === 0 ? 0 : 16 + ((i * 7919) % 4000)));

function layerTensors(runner: LayerRunner, layer: number): LayerTensors {
  return new Map(runner.tensorNames(layer).map((name) => [name, checkpoint.readFloat32(name)]));
}

test("layers run one by one make the hidden states of the whole model", async () => {
  const runner = new LayerRunner({ config, checkpoint });
  const states = [runner.embed(tokenIds), runner.embed(tokenIds.subarray(0, 9))];
  for (let layer = 0; layer < runner.layerCount; layer++) {
    await runner.forwardLayer(layer, layerTensors(runner, layer), states, { taps: [], states: "replace" });
  }

  const whole = await openForwardPass({ model: tinyModelPath, weights: "fp32", kvFormat: "fp32" });
  const logits = await whole.pass.logits(tokenIds);
  await whole.close();
  // The head after the final norm, by hand.
  const norm = checkpoint.readFloat32("model.norm.weight");
  const head = checkpoint.readFloat32("model.embed_tokens.weight");
  const { hiddenSize, vocabSize } = config;
  for (const [sequence, token] of [[0, 39] as const, [0, 3] as const, [1, 8] as const]) {
    const state = states[sequence]!.subarray(token * hiddenSize, (token + 1) * hiddenSize);
    const meanSquare = state.reduce((sum, value) => sum + value * value, 0) / hiddenSize;
    const factor = 1 / Math.sqrt(meanSquare + config.rmsNormEpsilon);
    for (let id = 0; id < vocabSize; id += 97) {
      let logit = 0;
      for (let i = 0; i < hiddenSize; i++) logit += state[i]! * factor * norm[i]! * head[id * hiddenSize + i]!;
      expect(logit).toBeCloseTo(logits[token * vocabSize + id]!, 3);
    }
  }
});

test("taps hand out what the linear layers read and what is stored", async () => {
  const runner = new LayerRunner({ config, checkpoint });
  const tensors = layerTensors(runner, 0);
  const states = runner.embed(tokenIds);
  const { hiddenSize, headDim, kvHeadCount } = config;
  const before = states.slice();
  const widths = new Map<string, number>();
  let read: Float32Array | undefined;
  const taps = runner.parts(0).map(({ modules }) => ({
    name: modules[0]!,
    read: (values: Float32Array, tokens: number) => {
      widths.set(modules[0]!, values.length / tokens);
      if (modules.length === 3) read = values.slice();
    },
  }));
  let values: Float32Array | undefined;
  await runner.forwardLayer(0, tensors, [states], {
    taps: [...taps, { name: valuesTap, read: (v) => (values = v.slice()) }],
    states: "keep",
  });
  expect(states).toEqual(before);
  expect([...widths.values()]).toEqual(runner.parts(0).map(({ width }) => width));

  const norm = tensors.get("model.layers.0.input_layernorm.weight")!;
  const row = before.subarray(5 * hiddenSize, 6 * hiddenSize);
  const meanSquare = row.reduce((sum, value) => sum + value * value, 0) / hiddenSize;
  const normed = row.map((value, i) => (value / Math.sqrt(meanSquare + config.rmsNormEpsilon)) * norm[i]!);
  normed.forEach((value, i) => {
    expect(read![5 * hiddenSize + i]).toBeCloseTo(value, 4);
  });
  const weights = tensors.get("model.layers.0.self_attn.v_proj.weight")!;
  for (let n = 0; n < kvHeadCount * headDim; n += 13) {
    const value = normed.reduce((sum, x, i) => sum + x * weights[n * hiddenSize + i]!, 0);
    expect(values![5 * kvHeadCount * headDim + n]).toBeCloseTo(value, 3);
  }
});

test("an id beyond the vocabulary and a missing tensor are named", async () => {
  const runner = new LayerRunner({ config, checkpoint });
  expect(() => runner.embed(Int32Array.of(4096))).toThrow("token id 4096 is not within 0 .. 4095");
  const tensors = new Map(layerTensors(runner, 1));
  tensors.delete("model.layers.1.mlp.up_proj.weight");
  const run = runner.forwardLayer(1, tensors, [runner.embed(tokenIds)], { taps: [], states: "keep" });
  await expect(run).rejects.toThrow('layer 1 lacks tensor "model.layers.1.mlp.up_proj.weight"');
});
