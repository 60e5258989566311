import { KvantError } from "@kvant/core";
import { type FormatName, weightFormatName } from "@kvant/formats";
import type { BackendInfo } from "../../backend.ts";
import type { ActivationScheme, PlanWeight } from "../../plan.ts";
import type { NativeWeight } from "../native-addon.ts";

/** The addon's backends; they differ in the schemes that they have kernels for. */
export type NativeBackend = Exclude<BackendInfo["name"], "reference">;

/**
 * A weight as the addon sees it.
 * @throws KvantError OP_UNSUPPORTED for schemes without kernels on that backend
 */
export function nativeWeight(weight: PlanWeight, backend: NativeBackend): NativeWeight {
  const { rows, cols, format, activation } = weight;
  if (activation === undefined) {
    const kind = weight.class === "embedding" ? "table" : "vector";
    const plain = { groupSize: 0, activation: "fp32", activationScale: 0, scales: "fp32" } as const;
    return { kind, rows, cols, format: format.format, ...plain };
  }
  if (activation.format === "e4m3" && backend === "cpu") throw unsupported(weight, activation, backend);
  if (format.format === "e4m3" && format.scaleFormat === "e8m0") throw unsupported(weight, activation, backend); // MXFP8
  return {
    kind: "matrix",
    rows,
    cols,
    // Codes of int3 and int2 lie in nibbles, as those of int4 do, and have the same kernels.
    format: isNarrow(format.format) ? "int4" : format.format,
    groupSize: groupSize(weight, activation, backend),
    activation: activation.format,
    activationScale: "scale" in activation && activation.scale !== "token" ? activation.scale : 0,
    scales: format.scaleFormat ?? (format.affine ? "affine" : "fp32"),
  };
}

/** Matrices that can be parts of one fused matrix. */
export function canShareMatrix(a: PlanWeight, b: PlanWeight, backend: NativeBackend): boolean {
  const [first, second] = [nativeWeight(a, backend), nativeWeight(b, backend)];
  return (
    first.cols === second.cols &&
    first.format === second.format &&
    first.groupSize === second.groupSize &&
    first.activation === second.activation &&
    first.activationScale === second.activationScale &&
    first.scales === second.scales
  );
}

function groupSize(weight: PlanWeight, activation: ActivationScheme, backend: NativeBackend): number {
  const { granularity, affine } = weight.format;
  if (granularity === undefined) return 0;
  switch (granularity.kind) {
    case "tensor":
      if (affine) throw unsupported(weight, activation, backend);
      return -2;
    case "channel":
      if (granularity.axis === 1) throw unsupported(weight, activation, backend);
      return -1;
    case "group":
      return granularity.size;
    case "tile":
      throw unsupported(weight, activation, backend);
    default:
      return granularity satisfies never;
  }
}

function unsupported(weight: PlanWeight, { format }: ActivationScheme, backend: NativeBackend): KvantError {
  return new KvantError(
    "OP_UNSUPPORTED",
    `linear "${weight.name}": the ${backend} backend has no kernel for ${weightFormatName(weight.format)} weights with ${format} activations`,
  );
}

/**
 * Checks that the addon makes codes of a weight from its values.
 * @throws KvantError OP_UNSUPPORTED for int3 and int2, which come as codes
 */
export function requireQuantizing({ name, format }: PlanWeight): void {
  if (!isNarrow(format.format)) return;
  throw new KvantError(
    "OP_UNSUPPORTED",
    `linear "${name}": ${weightFormatName(format)} weights are loaded from their codes, as a quantized ` +
      `checkpoint holds them; native backends do not quantize floats to ${format.format}`,
  );
}

function isNarrow(format: FormatName): format is "int3" | "int2" {
  return format === "int3" || format === "int2";
}
