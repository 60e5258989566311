import type { ModelConfig } from "@kvant/checkpoint";
import { parseWeightFormat, type WeightFormat } from "@kvant/formats";
import type { BufferId, PlanBuilder, WeightClass, WeightId } from "@kvant/kernels";
import type { DecoderTraits } from "./architectures/architecture.ts";
import type { KvLayer } from "./kv-groups.ts";
import type { Scheme } from "./scheme.ts";
import { activationScheme, type ScaleSource } from "./static-scales.ts";

/** Everything that the layers of one model share. */
export interface DecoderContext {
  readonly builder: PlanBuilder;
  readonly config: ModelConfig;
  readonly traits: DecoderTraits;
  readonly scheme: Scheme;
  readonly scales: ScaleSource | undefined;
  /** `[layerCount]` */
  readonly kvLayers: readonly KvLayer[];
  /** `[layerCount]` index of the layer's rope table in the plan. */
  readonly ropes: readonly number[];
  /** Whether to tap the input of the linear layer with this tensor name, or what `kTap` and `vTap` name. */
  readonly tap: (name: string) => boolean;
}

/** The tap of a layer's keys as they are stored: after RoPE. */
export function kTap(layer: number): string {
  return `model.layers.${layer}.self_attn.k`;
}

/** The tap of a layer's values as they are stored. */
export function vTap(layer: number): string {
  return `model.layers.${layer}.self_attn.v`;
}

const vectorFormat = parseWeightFormat("fp32");

/** Records token ids to logits: embedding, layers, final norm, head. Returns the logits buffer. */
export function recordDecoder(context: DecoderContext): BufferId {
  const { builder, config, scheme } = context;
  const { vocabSize, hiddenSize } = config;
  const embeddingName = "model.embed_tokens.weight";
  const table = builder.weight({
    name: embeddingName,
    class: "embedding",
    rows: vocabSize,
    cols: hiddenSize,
    format: parseWeightFormat(scheme.embedding),
    activation: undefined,
  });
  let x = builder.embed("embedding", table);
  for (let layer = 0; layer < config.layerCount; layer++) {
    x = recordLayer(context, layer, x);
  }
  // Rows that nobody asked logits of leave before the norm and the head.
  const wanted = builder.gatherRows("wanted", x);
  const normed = norm(context, "final_norm", wanted, "model.norm", hiddenSize);
  const headModule = config.tieWordEmbeddings ? "model.embed_tokens" : "lm_head";
  return linear(context, "logits", normed, headModule, { rows: vocabSize, cols: hiddenSize, class: "head" });
}

/** Records one decoder layer: attention, then the feed-forward part, each with its norm and its residual. */
export function recordLayer(context: DecoderContext, layer: number, x: BufferId): BufferId {
  return recordFeedForward(context, layer, recordAttention(context, layer, x));
}

function recordAttention(context: DecoderContext, layer: number, x: BufferId): BufferId {
  const { builder, config, traits } = context;
  const { hiddenSize, headCount, kvHeadCount, headDim } = config;
  const { group, layer: kvLayer } = context.kvLayers[layer]!;
  const prefix = `model.layers.${layer}`;
  const name = (part: string) => `layer_${layer}.${part}`;

  const normed = norm(context, name("attention_norm"), x, `${prefix}.input_layernorm`, hiddenSize);
  const project = (part: "q" | "k" | "v", heads: number) =>
    linear(context, name(part), normed, `${prefix}.self_attn.${part}_proj`, {
      rows: heads * headDim,
      cols: hiddenSize,
      bias: traits.qkvBias,
    });
  const [qRaw, kRaw, v] = [project("q", headCount), project("k", kvHeadCount), project("v", kvHeadCount)];
  const turn = (part: "q" | "k", raw: BufferId) => {
    const headNormed = traits.headNorm
      ? norm(context, name(`${part}_norm`), raw, `${prefix}.self_attn.${part}_norm`, headDim)
      : raw;
    return builder.rope(name(`${part}_rope`), headNormed, context.ropes[layer]!, headDim);
  };
  const [q, k] = [turn("q", qRaw), turn("k", kRaw)];
  if (context.tap(kTap(layer))) builder.tap(kTap(layer), k);
  if (context.tap(vTap(layer))) builder.tap(vTap(layer), v);
  builder.kvWrite(k, v, group, kvLayer);
  const attended = builder.attention(name("attended"), q, {
    group,
    layer: kvLayer,
    heads: headCount,
    scale: 1 / Math.sqrt(headDim),
  });
  const output = linear(context, name("attention"), attended, `${prefix}.self_attn.o_proj`, {
    rows: hiddenSize,
    cols: headCount * headDim,
    bias: traits.outputBias,
  });
  return builder.add(name("after_attention"), x, output);
}

function recordFeedForward(context: DecoderContext, layer: number, x: BufferId): BufferId {
  const { builder, config, traits } = context;
  const { hiddenSize, intermediateSize } = config;
  const prefix = `model.layers.${layer}`;
  const name = (part: string) => `layer_${layer}.${part}`;

  const normed = norm(context, name("mlp_norm"), x, `${prefix}.post_attention_layernorm`, hiddenSize);
  const widen = (part: "gate" | "up") =>
    linear(context, name(part), normed, `${prefix}.mlp.${part}_proj`, {
      rows: intermediateSize,
      cols: hiddenSize,
      bias: traits.mlpBias,
    });
  const activated = builder.siluMul(name("activated"), widen("gate"), widen("up"));
  const down = linear(context, name("mlp"), activated, `${prefix}.mlp.down_proj`, {
    rows: hiddenSize,
    cols: intermediateSize,
    bias: traits.mlpBias,
  });
  return builder.add(name("after_mlp"), x, down);
}

function norm({ builder, config }: DecoderContext, name: string, x: BufferId, module: string, width: number): BufferId {
  return builder.rmsNorm(name, x, vector(builder, `${module}.weight`, "norm", width), config.rmsNormEpsilon);
}

/** The linear layer `<module>.weight` with, where asked, `<module>.bias`. */
function linear(
  { builder, scheme, scales, tap }: DecoderContext,
  name: string,
  x: BufferId,
  module: string,
  shape: { readonly rows: number; readonly cols: number; readonly bias?: boolean; readonly class?: "head" },
): BufferId {
  const weightName = `${module}.weight`;
  if (tap(weightName)) builder.tap(weightName, x);
  const format: WeightFormat = shape.class === "head" ? scheme.head : scheme.weights;
  const weight = builder.weight({
    name: weightName,
    class: shape.class ?? "linear",
    rows: shape.rows,
    cols: shape.cols,
    format,
    activation: activationScheme(module, format, scheme, scales),
  });
  const bias = shape.bias === true ? vector(builder, `${module}.bias`, "bias", shape.rows) : undefined;
  return builder.linear(name, x, weight, bias);
}

function vector(builder: PlanBuilder, name: string, kind: WeightClass, cols: number): WeightId {
  return builder.weight({ name, class: kind, rows: 1, cols, format: vectorFormat, activation: undefined });
}
