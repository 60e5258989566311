import type { ModelConfig } from "@kvant/checkpoint";
import { architecture } from "@kvant/models";
import type { LayerPart } from "@kvant/quantizers";

/**
 * The linear layers of a decoder layer by the activations that they read, in order of use:
 * - q, k and v read what the attention norm makes;
 * - o reads sums of values, so its channel [head, d] is made by row [KV head, d] of v;
 * - gate and up read what the feed-forward norm makes;
 * - down reads silu(gate) * up, so its channel is made by the same row of up.
 * @throws KvantError ARCHITECTURE_UNKNOWN
 */
export function layerParts(config: ModelConfig, layer: number): readonly LayerPart[] {
  const { hiddenSize, intermediateSize, headCount, kvHeadCount, headDim } = config;
  const traits = architecture(config.architecture).traits(config);
  const prefix = `model.layers.${layer}`;
  const attention = (part: string) => `${prefix}.self_attn.${part}_proj`;
  const feedForward = (part: string) => `${prefix}.mlp.${part}_proj`;
  const headsPerKvHead = headCount / kvHeadCount;
  const valueRow = (channel: number) => Math.floor(channel / headDim / headsPerKvHead) * headDim + (channel % headDim);
  const same = (width: number) => Int32Array.from({ length: width }, (_, channel) => channel);
  return [
    {
      modules: [attention("q"), attention("k"), attention("v")],
      width: hiddenSize,
      madeBy: { kind: "norm", module: `${prefix}.input_layernorm` },
      source: same(hiddenSize),
      hasSourceBias: false,
    },
    {
      modules: [attention("o")],
      width: headCount * headDim,
      madeBy: { kind: "linear", module: attention("v") },
      source: Int32Array.from({ length: headCount * headDim }, (_, channel) => valueRow(channel)),
      hasSourceBias: traits.qkvBias,
    },
    {
      modules: [feedForward("gate"), feedForward("up")],
      width: hiddenSize,
      madeBy: { kind: "norm", module: `${prefix}.post_attention_layernorm` },
      source: same(hiddenSize),
      hasSourceBias: false,
    },
    {
      modules: [feedForward("down")],
      width: intermediateSize,
      madeBy: { kind: "linear", module: feedForward("up") },
      source: same(intermediateSize),
      hasSourceBias: traits.mlpBias,
    },
  ];
}
