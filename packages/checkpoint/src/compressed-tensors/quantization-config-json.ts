import { KvantError } from "@kvant/core";
import type { WeightFormat } from "@kvant/formats";
import type { ActivationQuantization, CompressionFormat, KvQuantization } from "./module-scheme.ts";
import { compressionFormat, quantizationArguments, weightArguments } from "./weight-arguments.ts";

/** A linear module of the checkpoint that is quantized. */
export interface QuantizedModule {
  readonly module: string;
  readonly weightFormat: WeightFormat;
  readonly activations?: ActivationQuantization | undefined;
}

export interface QuantizationConfigOptions {
  readonly modules: Iterable<QuantizedModule>;
  /** Linear modules that stay as they are, such as `lm_head`. */
  readonly ignore: readonly string[];
  readonly kv?: KvQuantization | undefined;
}

/**
 * The object `quantization_config` of a config.json for these modules. One scheme for all targets the class `Linear`, which
 * is why every linear module that is not quantized must stand in `ignore`. Several schemes name their modules instead: vLLM
 * lets a class name go before the names of the parts of a fused layer.
 * @throws KvantError QUANTIZATION_UNSUPPORTED for formats that the dialect cannot hold, INVALID_ARGUMENT for a module that is
 * named twice, or if nothing is quantized
 */
export function quantizationConfigJson({ modules, ignore, kv }: QuantizationConfigOptions): Record<string, unknown> {
  const groups = groupsOf(modules, new Set(ignore));
  if (groups.length === 0 && kv === undefined) {
    throw new KvantError("INVALID_ARGUMENT", "no module is quantized, so there is no quantization_config");
  }
  const formats = new Set(groups.map(({ compression }) => compression));
  return {
    config_groups: Object.fromEntries(
      groups.map(({ compression, weights, activations, names }, index) => [
        `group_${index}`,
        {
          format: compression,
          input_activations: activations === undefined ? null : activationArguments(activations),
          output_activations: null,
          targets: groups.length === 1 ? ["Linear"] : names,
          weights,
        },
      ]),
    ),
    format: formats.size > 1 ? "mixed-precision" : ([...formats][0] ?? "dense"),
    global_compression_ratio: null,
    ignore: [...ignore],
    kv_cache_scheme: kv === undefined ? null : kvArguments(kv),
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
  };
}

interface Group {
  readonly compression: CompressionFormat;
  readonly weights: Record<string, unknown>;
  readonly activations: ActivationQuantization | undefined;
  readonly names: string[];
}

/** Modules by equal schemes, groups in the order of their first modules. */
function groupsOf(modules: Iterable<QuantizedModule>, ignored: ReadonlySet<string>): readonly Group[] {
  const groups = new Map<string, Group>();
  const seen = new Set<string>();
  for (const { module, weightFormat, activations } of modules) {
    if (seen.has(module) || ignored.has(module)) {
      const clash = seen.has(module) ? "twice" : "as ignored too";
      throw new KvantError("INVALID_ARGUMENT", `the quantized module "${module}" is named ${clash}`);
    }
    seen.add(module);
    const compression = compressionFormat(weightFormat, activations);
    const weights = weightArguments(weightFormat);
    const key = JSON.stringify([compression, weights, activations?.format, activations?.scale]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { compression, weights, activations, names: [module] });
    else group.names.push(module);
  }
  return [...groups.values()];
}

function activationArguments({ format, scale }: ActivationQuantization): Record<string, unknown> {
  const isDynamic = scale === "dynamic";
  return quantizationArguments({ ...eightBits(format), dynamic: isDynamic, strategy: isDynamic ? "token" : "tensor" });
}

function kvArguments({ format, granularity }: KvQuantization): Record<string, unknown> {
  const strategy = granularity === "head" ? "attn_head" : "tensor";
  return quantizationArguments({ ...eightBits(format), dynamic: false, strategy });
}

function eightBits(format: "int8" | "e4m3") {
  return { bits: 8, type: format === "int8" ? "int" : "float", symmetric: true } as const;
}
