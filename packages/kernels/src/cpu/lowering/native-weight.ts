import { KvantError } from "@kvant/core";
import { type WeightFormat, weightFormatName } from "@kvant/formats";
import type { ActivationScheme, PlanWeight } from "../../plan.ts";
import type { NativeWeight } from "../native-addon.ts";

/**
 * A weight as the addon sees it.
 * @throws KvantError OP_UNSUPPORTED for schemes without CPU kernels
 */
export function nativeWeight(weight: PlanWeight): NativeWeight {
  const { rows, cols, format, activation } = weight;
  if (activation === undefined) {
    const kind = weight.class === "embedding" ? "table" : "vector";
    const plain = { groupSize: 0, activation: "fp32", activationScale: 0, scales: "fp32" } as const;
    return { kind, rows, cols, format: format.format, ...plain };
  }
  if (activation.format === "e4m3") throw unsupported(weight, activation);
  return {
    kind: "matrix",
    rows,
    cols,
    format: format.format,
    groupSize: groupSize(weight, format),
    activation: activation.format,
    activationScale: activation.format === "int8" && activation.scale !== "token" ? activation.scale : 0,
    scales: format.scaleFormat ?? (format.affine ? "affine" : "fp32"),
  };
}

/** Matrices that can be parts of one fused matrix. */
export function canShareMatrix(a: PlanWeight, b: PlanWeight): boolean {
  const [first, second] = [nativeWeight(a), nativeWeight(b)];
  return (
    first.cols === second.cols &&
    first.format === second.format &&
    first.groupSize === second.groupSize &&
    first.activation === second.activation &&
    first.activationScale === second.activationScale &&
    first.scales === second.scales
  );
}

function groupSize(weight: PlanWeight, { granularity, affine }: WeightFormat): number {
  if (granularity === undefined) return 0;
  switch (granularity.kind) {
    case "tensor":
      if (affine) throw unsupported(weight, weight.activation!);
      return -2;
    case "channel":
      if (granularity.axis === 1) throw unsupported(weight, weight.activation!);
      return -1;
    case "group":
      return granularity.size;
    default:
      return granularity satisfies never;
  }
}

function unsupported(weight: PlanWeight, { format }: ActivationScheme): KvantError {
  return new KvantError(
    "OP_UNSUPPORTED",
    `linear "${weight.name}": the cpu backend has no kernel for ${weightFormatName(weight.format)} weights with ${format} activations`,
  );
}
