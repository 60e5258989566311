import type { ModelConfig } from "@kvant/checkpoint";
import { type BufferId, type Plan, PlanBuilder } from "@kvant/kernels";
import { architecture } from "./architectures/registry.ts";
import { recordLayer } from "./record-decoder.ts";
import { ropeTable } from "./rope-table.ts";
import type { Scheme } from "./scheme.ts";

/** One decoder layer as a plan of its own: hidden states in, hidden states out. */
export interface LayerPlan {
  readonly plan: Plan;
  /** `[tokens, hiddenSize]`, written before a step. */
  readonly input: BufferId;
  /** `[tokens, hiddenSize]`, read after it. */
  readonly output: BufferId;
}

/**
 * Records the decoder layer `layer` alone, as calibration runs it. Weights keep the names that they have in the checkpoint.
 * @throws KvantError ARCHITECTURE_UNKNOWN
 */
export function buildLayerPlan(
  config: ModelConfig,
  layer: number,
  options: { readonly scheme: Scheme; readonly contextLength: number; readonly tap: (name: string) => boolean },
): LayerPlan {
  const { scheme, contextLength, tap } = options;
  const name = `${config.architecture} layer ${layer}`;
  const builder = new PlanBuilder({ name, vocabSize: config.vocabSize, contextLength });
  const group = builder.kvGroup({
    layerCount: 1,
    kvHeads: config.kvHeadCount,
    headDim: config.headDim,
    window: config.windows[layer],
    format: scheme.kv,
    scales: scheme.kvScales === "none" ? { kind: "none" } : { kind: "token-head" },
  });
  const rope = builder.ropeTable(ropeTable(config.ropes[layer]!, config.headDim));
  const input = builder.input("hidden", config.hiddenSize);
  const output = recordLayer(
    {
      builder,
      config,
      traits: architecture(config.architecture).traits(config),
      scheme,
      scales: undefined,
      kvLayers: Array.from({ length: config.layerCount }, () => ({ group, layer: 0 })),
      ropes: config.ropes.map(() => rope),
      tap,
    },
    layer,
    input,
  );
  builder.output(output);
  return { plan: builder.build(), input, output };
}
