import type { Checkpoint } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import type { WeightFormat } from "@kvant/formats";
import type { ActivationScheme, KvScales } from "@kvant/kernels";
import { activationsOf, type Scheme } from "./scheme.ts";

/** Where static scales come from: an open checkpoint. */
export type ScaleSource = Pick<Checkpoint, "tensors" | "readFloat32">;

/**
 * The activation scheme of the linear layer `<module>.weight`. Quantized activations are static where the checkpoint holds
 * `<module>.input_scale`, and else get a scale per token.
 * @throws KvantError SCALE_MISSING if that tensor is not one positive number
 */
export function activationScheme(
  module: string,
  format: WeightFormat,
  scheme: Pick<Scheme, "activations">,
  source: ScaleSource | undefined,
): ActivationScheme {
  const activations = activationsOf(format, scheme);
  if (activations !== "int8" && activations !== "e4m3") return { format: activations };
  const name = `${module}.input_scale`;
  if (source === undefined || !source.tensors.has(name)) return { format: activations, scale: "token" };
  return { format: activations, scale: readScales(name, 1, source)[0]! };
}

/**
 * The KV scales of a group of layers. Static ones are read from `model.layers.N.self_attn.k_scale` and `v_scale`.
 * @throws KvantError SCALE_MISSING naming the tensor
 */
export function kvScales(
  scheme: Scheme,
  layers: readonly number[],
  kvHeads: number,
  source: ScaleSource | undefined,
): KvScales {
  const kind = scheme.kvScales;
  if (kind === "none" || kind === "token-head") return { kind };
  const count = kind === "head" ? kvHeads : 1;
  const read = (part: "k" | "v") => {
    const values = new Float32Array(layers.length * count);
    layers.forEach((layer, index) => {
      const name = `model.layers.${layer}.self_attn.${part}_scale`;
      if (source === undefined || !source.tensors.has(name)) {
        throw new KvantError("SCALE_MISSING", `static ${scheme.kv} KV scales need tensor "${name}", which is absent`, {
          field: name,
        });
      }
      values.set(readScales(name, count, source), index * count);
    });
    return values;
  };
  return { kind, k: read("k"), v: read("v") };
}

function readScales(name: string, count: number, source: ScaleSource): Float32Array {
  const scales = source.readFloat32(name);
  const wrong = scales.find((scale) => !(scale > 0 && scale < Infinity));
  if (scales.length === count && wrong === undefined) return scales;
  throw new KvantError(
    "SCALE_MISSING",
    wrong === undefined
      ? `scale tensor "${name}" holds ${scales.length} numbers where ${count} are needed`
      : `scale tensor "${name}" holds ${wrong}, which is no positive number`,
    { field: name },
  );
}
