import { KvantError } from "@kvant/core";
import {
  type ActivationFormatName,
  formats,
  type KvFormatName,
  parseActivationFormat,
  parseKvFormat,
  parseWeightFormat,
  type WeightFormat,
  weightFormatName,
} from "@kvant/formats";

/** The float formats that checkpoints store weights in. */
export type StoredDtype = "fp32" | "bf16" | "fp16";

/** How a model is held and computed: weights x activations x KV. */
export interface Scheme {
  /** The linear layers of the decoder. */
  readonly weights: WeightFormat;
  /** The output head. */
  readonly head: WeightFormat;
  /** The embedding table; rows of it are looked up, never multiplied. */
  readonly embedding: StoredDtype;
  /** How activations enter the linear layers. */
  readonly activations: ActivationFormatName;
  readonly kv: KvFormatName;
  /** `none` for 16- and 32-bit KV formats; `head` and `tensor` are static and come from the checkpoint. */
  readonly kvScales: "token-head" | "head" | "tensor" | "none";
}

/** What a caller may name; the rest follows from `resolveScheme`. Names as on the command line. */
export interface SchemeRequest {
  readonly weights?: string | undefined;
  readonly activations?: string | undefined;
  readonly kvFormat?: string | undefined;
  readonly kvScales?: "token-head" | "head" | "tensor" | undefined;
  readonly headFormat?: string | undefined;
}

interface Rule {
  /** Activations that linear layers of this format take unless told otherwise. */
  readonly activations: ActivationFormatName;
  /** Activations that can be asked for. */
  readonly allowed: readonly ActivationFormatName[];
  /** Number format of the head: logits suffer first, so it keeps at least 8 bits. */
  readonly head: WeightFormat["format"];
}

const floats = ["fp32", "bf16", "fp16"] as const;

/**
 * The one table that turns a weight format into a scheme. Integer codes meet integer activations in exact integer dot
 * products; FP8 and FP4 weights decode to floats, and FP8 activations are theirs alone.
 */
const rules: Readonly<Record<WeightFormat["format"], Rule>> = {
  fp32: { activations: "fp32", allowed: floats, head: "fp32" },
  bf16: { activations: "bf16", allowed: floats, head: "bf16" },
  fp16: { activations: "fp16", allowed: floats, head: "fp16" },
  int8: { activations: "int8", allowed: [...floats, "int8"], head: "int8" },
  int4: { activations: "int8", allowed: [...floats, "int8"], head: "int8" },
  int3: { activations: "int8", allowed: [...floats, "int8"], head: "int8" },
  int2: { activations: "int8", allowed: [...floats, "int8"], head: "int8" },
  e4m3: { activations: "bf16", allowed: [...floats, "e4m3"], head: "e4m3" },
  e5m2: { activations: "bf16", allowed: [...floats, "e4m3"], head: "e5m2" },
  e2m1: { activations: "bf16", allowed: [...floats, "e4m3"], head: "e4m3" },
};

/**
 * Fills in what a request leaves open:
 * - weights: the stored format;
 * - activations: `rules`;
 * - head: `rules`, one scale per output channel (per tensor where the weights have one per tensor);
 * - embedding table: fp32 where fp32 weights are asked for, else 16 bit: fp16 if stored so, bf16 otherwise;
 * - KV: bf16; 8-bit KV formats have a scale per token and head.
 * @throws KvantError FORMAT_UNKNOWN for unknown names, INVALID_ARGUMENT for pairs that do not go together
 */
export function resolveScheme(request: SchemeRequest, stored: StoredDtype): Scheme {
  const weights = parseWeightFormat(request.weights ?? stored);
  const rule = rules[weights.format];
  const activations = request.activations === undefined ? rule.activations : parseActivationFormat(request.activations);
  if (!rule.allowed.includes(activations)) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${weightFormatName(weights)} weights take ${rule.allowed.join(", ")} activations, not ${activations}`,
      { field: "activations" },
    );
  }
  const kv = parseKvFormat(request.kvFormat ?? "bf16");
  const hasScales = formats[kv].bits === 8;
  if (!hasScales && request.kvScales !== undefined) {
    throw new KvantError("INVALID_ARGUMENT", `KV format ${kv} has no scales, so none can be "${request.kvScales}"`, {
      field: "kvScales",
    });
  }
  return {
    weights,
    head: request.headFormat === undefined ? headFormat(weights) : parseWeightFormat(request.headFormat),
    embedding: weights.format === "fp32" ? "fp32" : stored === "fp16" ? "fp16" : "bf16",
    activations,
    kv,
    kvScales: hasScales ? (request.kvScales ?? "token-head") : "none",
  };
}

/** The activation format of one matrix: the scheme's where the format takes it, else the format's own. */
export function activationsOf(format: WeightFormat, scheme: Scheme): ActivationFormatName {
  const { allowed, activations } = rules[format.format];
  return allowed.includes(scheme.activations) ? scheme.activations : activations;
}

function headFormat({ format, granularity }: WeightFormat): WeightFormat {
  const { head } = rules[format];
  if (granularity === undefined) return { format: head, granularity, affine: false };
  const kind = granularity.kind === "tensor" ? "tensor" : "channel";
  return parseWeightFormat(`${head}-${kind}`);
}
