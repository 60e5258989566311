import type { ModelConfig, RopeConfig } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { type Plan, PlanBuilder } from "@kvant/kernels";
import { architecture } from "./architectures/registry.ts";
import { groupLayers, type KvLayer } from "./kv-groups.ts";
import { recordDecoder } from "./record-decoder.ts";
import { ropeTable } from "./rope-table.ts";
import type { Scheme } from "./scheme.ts";
import { kvScales, type ScaleSource } from "./static-scales.ts";

export interface BuildPlanOptions {
  /** The open checkpoint, for static activation and KV scales. Without it every scale is dynamic. */
  readonly scales?: ScaleSource | undefined;
  /** Serves fewer positions than the model was made for. */
  readonly contextLength?: number | undefined;
  /** Taps the input of each linear layer whose tensor name this accepts; the tap has that name. */
  readonly tap?: ((weightName: string) => boolean) | undefined;
}

export interface ModelPlan {
  readonly plan: Plan;
  /** `[layerCount]` where each decoder layer keeps its K and V. */
  readonly kvLayers: readonly KvLayer[];
}

/**
 * Records a model as a plan.
 * @throws KvantError ARCHITECTURE_UNKNOWN; CONFIG_INVALID for an activation function other than SiLU; SCALE_MISSING for
 * static KV scales that the checkpoint lacks; INVALID_ARGUMENT for a context beyond the model's
 */
export function buildPlan(config: ModelConfig, scheme: Scheme, options: BuildPlanOptions = {}): ModelPlan {
  const { traits } = architecture(config.architecture);
  if (config.activation !== "silu") {
    throw new KvantError("CONFIG_INVALID", `${config.architecture}: hidden_act is "${config.activation}", not "silu"`, {
      field: "hidden_act",
    });
  }
  const contextLength = options.contextLength ?? config.contextLength;
  if (!(Number.isInteger(contextLength) && contextLength >= 1 && contextLength <= config.contextLength)) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `a context of ${contextLength} tokens is not within the model's 1 to ${config.contextLength}`,
      { field: "contextLength" },
    );
  }
  const builder = new PlanBuilder({ name: config.architecture, vocabSize: config.vocabSize, contextLength });
  const { groups, kvLayers } = groupLayers(config);
  for (const { window, layers } of groups) {
    builder.kvGroup({
      layerCount: layers.length,
      kvHeads: config.kvHeadCount,
      headDim: config.headDim,
      window,
      format: scheme.kv,
      scales: kvScales(scheme, layers, config.kvHeadCount, options.scales),
    });
  }
  const logits = recordDecoder({
    builder,
    config,
    traits: traits(config),
    scheme,
    scales: options.scales,
    kvLayers,
    ropes: addRopes(builder, config),
    tap: options.tap ?? (() => false),
  });
  builder.logits(logits);
  return { plan: builder.build(), kvLayers };
}

/** One table per distinct rotary embedding; returns the table of each layer. */
function addRopes(builder: PlanBuilder, config: ModelConfig): readonly number[] {
  const tables = new Map<RopeConfig, number>();
  return config.ropes.map((rope) => {
    const known = tables.get(rope) ?? builder.ropeTable(ropeTable(rope, config.headDim));
    tables.set(rope, known);
    return known;
  });
}
