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

/** How one linear layer of a quantized checkpoint is held and what enters it. */
export interface LinearScheme {
  readonly weights: WeightFormat;
  readonly activations: ActivationFormatName;
}

/** What a quantized checkpoint says of itself; `QuantizationConfig` of @kvant/checkpoint over the modules that it holds. */
export interface StoredQuantization {
  readonly modules: ReadonlyMap<
    string,
    { readonly weightFormat: WeightFormat; readonly activations: { readonly format: "int8" | "e4m3" } | undefined }
  >;
  readonly kv: { readonly format: KvFormatName; readonly granularity: "head" | "tensor" } | undefined;
}

/** How a model is held and computed: weights x activations x KV. */
export interface Scheme {
  /** The linear layers of the decoder. */
  readonly weights: WeightFormat;
  /** Linear layers whose codes the checkpoint holds, by module; they stand above `weights`, `head` and `activations`. */
  readonly modules?: ReadonlyMap<string, LinearScheme> | undefined;
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

/**
 * The scheme of a checkpoint whose weights are quantized: those stay as they are, activations are quantized where the
 * checkpoint says so, and elsewhere as the request says or in the stored float format. Static KV scales are used where the
 * request names the KV format that they are for.
 * @throws KvantError INVALID_ARGUMENT for a request that would quantize again, FORMAT_UNKNOWN
 */
export function resolveStoredScheme(
  request: SchemeRequest,
  stored: StoredDtype,
  { modules, kv }: StoredQuantization,
): Scheme {
  const names = [...new Set([...modules.values()].map(({ weightFormat }) => weightFormatName(weightFormat)))];
  if (request.weights !== undefined) {
    const sentence = `the checkpoint's weights are quantized already (${names.join(", ")}), so they cannot become ${request.weights}`;
    throw new KvantError("INVALID_ARGUMENT", sentence, { field: "weights" });
  }
  const usesStoredKv = request.kvScales === undefined && kv !== undefined && request.kvFormat === kv.format;
  const { activations: asked, ...rest } = request;
  const base = resolveScheme({ ...rest, ...(usesStoredKv ? { kvScales: kv.granularity } : {}) }, stored);
  const linears = new Map<string, LinearScheme>();
  for (const [module, { weightFormat, activations }] of modules) {
    linears.set(module, {
      weights: weightFormat,
      activations: moduleActivations(module, weightFormat, activations?.format),
    });
  }
  const quantized = new Set([...linears.values()].map(({ activations }) => activations));
  const [only] = quantized;
  return { ...base, modules: linears, activations: quantized.size === 1 ? only! : base.activations };

  function moduleActivations(
    module: string,
    weights: WeightFormat,
    fixed: "int8" | "e4m3" | undefined,
  ): ActivationFormatName {
    const named = asked === undefined ? undefined : parseActivationFormat(asked);
    if (fixed !== undefined && named !== undefined && named !== fixed) {
      const sentence = `the checkpoint quantizes the activations of "${module}" to ${fixed}, so they cannot be ${named}`;
      throw new KvantError("INVALID_ARGUMENT", sentence, { field: "activations" });
    }
    const activations = fixed ?? named ?? stored;
    const { allowed } = rules[weights.format];
    if (allowed.includes(activations)) return activations;
    const sentence = `${weightFormatName(weights)} weights take ${allowed.join(", ")} activations, not ${activations}`;
    throw new KvantError("INVALID_ARGUMENT", sentence, { field: "activations" });
  }
}

/** The weight formats of the linear layers: one name, or those of a mixed checkpoint joined by +. */
export function weightsName({ weights, modules }: Pick<Scheme, "weights" | "modules">): string {
  if (modules === undefined || modules.size === 0) return weightFormatName(weights);
  return [...new Set([...modules.values()].map((each) => weightFormatName(each.weights)))].join("+");
}

/** The activation format of one matrix: the scheme's where the format takes it, else the format's own. */
export function activationsOf(format: WeightFormat, scheme: Pick<Scheme, "activations">): ActivationFormatName {
  const { allowed, activations } = rules[format.format];
  return allowed.includes(scheme.activations) ? scheme.activations : activations;
}

function headFormat({ format, granularity }: WeightFormat): WeightFormat {
  const { head } = rules[format];
  if (granularity === undefined) return { format: head, granularity, affine: false };
  const kind = granularity.kind === "tensor" ? "tensor" : "channel";
  return parseWeightFormat(`${head}-${kind}`);
}
