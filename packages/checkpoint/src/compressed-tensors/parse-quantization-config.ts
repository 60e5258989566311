import { KvantError } from "@kvant/core";
import { type ConfigFields, configFields } from "../config-fields.ts";
import type { ActivationQuantization, CompressionFormat, KvQuantization, ModuleScheme } from "./module-scheme.ts";
import { targetMatcher } from "./target-matcher.ts";
import { argumentNames, parseWeightArguments, strategyName } from "./weight-arguments.ts";

/** What `quantization_config` of a config.json says, in Kvant's words. */
export interface QuantizationConfig {
  /** `undefined`: the checkpoint brings no KV scales. */
  readonly kv: KvQuantization | undefined;
  /** Names, classes and patterns of modules that stay as they are. */
  readonly ignore: readonly string[];
  /** Targets as they are written, with their schemes. */
  readonly targets: ReadonlyMap<string, ModuleScheme>;
  /** How a module of a class (by default `Linear`) is quantized; `undefined`: not at all. */
  schemeOf(module: string, moduleClass?: string): ModuleScheme | undefined;
}

const compressionFormats: readonly CompressionFormat[] = [
  ...(["pack-quantized", "int-quantized", "float-quantized", "naive-quantized"] as const),
  ...(["mxfp8-quantized", "mxfp4-pack-quantized", "nvfp4-pack-quantized"] as const),
];

/**
 * Reads and checks `quantization_config` (`QuantizationConfig` of compressed-tensors,
 * src/compressed_tensors/quantization/quant_config.py). Keys of the whole that only inform, such as `version`, are passed
 * over; in groups and arguments the dialect knows every key, and an unknown one is refused. `source` names the file.
 * @throws KvantError QUANTIZATION_UNSUPPORTED for other dialects (gptq, awq, fp8, bitsandbytes, ...) and for schemes that are
 * not read, CONFIG_INVALID for impossible values; both name the field
 */
export function parseQuantizationConfig(
  source: string,
  record: Readonly<Record<string, unknown>>,
  prefix = "quantization_config.",
): QuantizationConfig {
  const fields = configFields(source, record, prefix);
  const method = fields.string("quant_method") ?? fields.fail("quant_method", "the name of a dialect");
  if (method.replaceAll("_", "-") !== "compressed-tensors") {
    throw new KvantError(
      "QUANTIZATION_UNSUPPORTED",
      `${source}: the checkpoint is quantized in the dialect ${method}, which is not in this release; compressed-tensors is, and so are unquantized checkpoints`,
      { field: `${prefix}quant_method` },
    );
  }
  if ((fields.string("quantization_status") ?? "compressed") !== "compressed") {
    fields.unsupported("quantization_status", "weights are read once they are compressed");
  }
  refuseTransforms(fields);
  const targets = readGroups(fields);
  const ignore = fields.strings("ignore");
  const schemes = targetMatcher(source, targets);
  const ignored = targetMatcher(source, new Map(ignore.map((target) => [target, true])));
  return {
    kv: readKv(fields.nested("kv_cache_scheme")),
    ignore,
    targets,
    schemeOf: (module, moduleClass = "Linear") =>
      ignored.find(module, moduleClass) ? undefined : schemes.find(module, moduleClass),
  };
}

/** Sparse weights and rotations change what the stored numbers mean. */
function refuseTransforms(fields: ConfigFields): void {
  const sparsity = fields.nested("sparsity_config");
  if (sparsity !== undefined && (sparsity.string("format") ?? "dense") !== "dense") {
    sparsity.unsupported("format", "weights are dense");
  }
  const transform = fields.nested("transform_config");
  const groups = transform?.nested("config_groups");
  if (groups !== undefined && Object.keys(groups.record).length > 0) {
    transform!.unsupported("config_groups", "weights are not rotated");
  }
}

function readGroups(fields: ConfigFields): ReadonlyMap<string, ModuleScheme> {
  const groups = fields.nested("config_groups") ?? fields.fail("config_groups", "an object of groups");
  const targets = new Map<string, ModuleScheme>();
  for (const name of Object.keys(groups.record)) {
    if (Array.isArray(groups.record[name])) groups.unsupported(name, "groups are spelled out, not named after presets");
    const group = groups.nested(name) ?? groups.fail(name, "an object");
    group.only(["targets", "weights", "input_activations", "output_activations", "format"]);
    const scheme = readScheme(group, fields);
    for (const target of group.strings("targets")) {
      if (targets.has(target)) group.fail("targets", `free of ${JSON.stringify(target)}, which another group has`);
      targets.set(target, scheme);
    }
  }
  return targets;
}

function readScheme(group: ConfigFields, whole: ConfigFields): ModuleScheme {
  if (group.has("output_activations")) group.unsupported("output_activations", "layers quantize their inputs alone");
  const owner = group.has("format") ? group : whole;
  const format = owner.string("format") ?? owner.fail("format", "the name of a layout");
  const compression =
    compressionFormats.find((each) => each === format) ??
    owner.unsupported("format", `there are ${compressionFormats.join(", ")}, and mixed-precision over groups`);
  const weights = group.nested("weights") ?? group.unsupported("weights", "layers have quantized weights");
  return {
    weightFormat: parseWeightArguments(weights, compression),
    activations: readActivations(group.nested("input_activations")),
    compression,
  };
}

function readActivations(fields: ConfigFields | undefined): ActivationQuantization | undefined {
  if (fields === undefined) return undefined;
  const format = eightBitFormat(fields, "activations");
  const strategy = strategyName(fields);
  const { dynamic = false } = fields.record;
  if (strategy === "token" && dynamic === true) return { format, scale: "dynamic" };
  if (strategy === "tensor" && dynamic === false) return { format, scale: "static" };
  return fields.unsupported(
    strategy === "token" || strategy === "tensor" ? "dynamic" : "strategy",
    "activations have dynamic scales per token, or one static scale per tensor",
  );
}

function readKv(fields: ConfigFields | undefined): KvQuantization | undefined {
  if (fields === undefined) return undefined;
  const format = eightBitFormat(fields, "the KV cache");
  if (fields.boolean("dynamic", false)) fields.unsupported("dynamic", "a checkpoint's KV scales are static");
  const strategy = strategyName(fields);
  if (strategy === "tensor") return { format, granularity: "tensor" };
  if (strategy === "attn_head") return { format, granularity: "head" };
  return fields.unsupported("strategy", "the KV cache has scales per tensor or attn_head");
}

function eightBitFormat(fields: ConfigFields, what: string): "int8" | "e4m3" {
  fields.only(argumentNames);
  if (fields.integer("num_bits", { min: 1, max: 16, absent: 8 }) !== 8) {
    fields.unsupported("num_bits", `${what} has 8 bits`);
  }
  if (!fields.boolean("symmetric", true)) fields.unsupported("symmetric", `${what} has no zero points`);
  const type = fields.string("type") ?? "int";
  if (type !== "int" && type !== "float") return fields.fail("type", "int or float");
  return type === "int" ? "int8" : "e4m3";
}
