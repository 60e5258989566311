import type { Tensor } from "../tensor.ts";
import { float32Tensor } from "./scale-layout.ts";

/** The tensor of a static activation scale, `<module>.input_scale`: F32 [1], what codes are multiplied by. */
export function inputScaleTensor(module: string, scale: number): readonly [string, Tensor] {
  return [`${module}.input_scale`, float32Tensor(Float32Array.of(scale), [1])];
}

/**
 * The tensors of an attention module's static KV scales, `<attention>.k_scale` and `v_scale`: F32 [1] for one scale, and for
 * one per head [heads, 1, 1], as `initialize_qparams` of compressed-tensors shapes the strategy attn_head.
 */
export function kvScaleTensors(
  attention: string, // such as model.layers.0.self_attn
  granularity: "tensor" | "head",
  { k, v }: { readonly k: Float32Array; readonly v: Float32Array },
): ReadonlyMap<string, Tensor> {
  const tensor = (scales: Float32Array) =>
    float32Tensor(scales, granularity === "head" ? [scales.length, 1, 1] : [scales.length]);
  return new Map([
    [`${attention}.k_scale`, tensor(k)],
    [`${attention}.v_scale`, tensor(v)],
  ]);
}
