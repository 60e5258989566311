import { KvantError } from "@kvant/core";
import type { QuantizedTensor } from "@kvant/formats";
import type { ModuleScheme } from "./module-scheme.ts";
import type { QuantizationConfig } from "./parse-quantization-config.ts";
import { type TensorSource, unpackQuantized } from "./unpack-quantized.ts";

/** The quantized weights of a checkpoint. Nothing is read until it is asked for. */
export interface QuantizedWeights {
  /** Every quantized module with its scheme, in the order of the checkpoint. */
  readonly modules: ReadonlyMap<string, ModuleScheme>;
  /** Names of the tensors that hold these weights, so that what is left is stored as it is. */
  readonly tensorNames: ReadonlySet<string>;
  /** The static activation scale's tensor, `<module>.input_scale`, by module. */
  readonly inputScales: ReadonlyMap<string, string>;
  /**
   * Reads one weight.
   * @throws KvantError TENSOR_MISSING, TENSOR_SHAPE, CHECKPOINT_INVALID, QUANTIZATION_UNSUPPORTED; INVALID_ARGUMENT for a module
   * that is not among `modules`
   */
  readQuantized(module: string): QuantizedTensor;
}

const weightParts = [
  ...["weight", "weight_packed", "weight_scale", "weight_shape"],
  ...["weight_zero_point", "weight_global_scale", "weight_g_idx"],
];

/**
 * Finds the quantized weights of an open checkpoint: the modules that have a `weight_scale`.
 * @throws KvantError CHECKPOINT_INVALID if the configuration says nothing about such a module, or names one whose weight is
 * stored without scales; SCALE_MISSING if static activations lack their scale
 */
export function quantizedWeights(source: TensorSource, config: QuantizationConfig): QuantizedWeights {
  const modules = new Map<string, ModuleScheme>();
  const tensorNames = new Set<string>();
  const inputScales = new Map<string, string>();
  for (const name of source.tensors.keys()) {
    if (!name.endsWith(".weight_scale")) continue;
    const module = name.slice(0, -".weight_scale".length);
    const scheme = config.schemeOf(module);
    if (scheme === undefined) {
      throw new KvantError(
        "CHECKPOINT_INVALID",
        `tensor "${name}" belongs to a module that quantization_config does not quantize`,
        { field: name },
      );
    }
    modules.set(module, scheme);
    for (const part of weightParts) {
      if (source.tensors.has(`${module}.${part}`)) tensorNames.add(`${module}.${part}`);
    }
    if (scheme.activations?.scale !== "static") continue;
    const inputScale = `${module}.input_scale`;
    if (!source.tensors.has(inputScale)) {
      throw new KvantError("SCALE_MISSING", `static activations of "${module}" need tensor "${inputScale}"`, {
        field: inputScale,
      });
    }
    inputScales.set(module, inputScale);
  }
  for (const target of config.targets.keys()) {
    const isStored = source.tensors.has(`${target}.weight`);
    if (!isStored || modules.has(target) || config.schemeOf(target) === undefined) continue;
    throw new KvantError(
      "CHECKPOINT_INVALID",
      `quantization_config quantizes "${target}", whose weight is stored without scales`,
      { field: `${target}.weight_scale` },
    );
  }
  return {
    modules,
    tensorNames,
    inputScales,
    readQuantized(module) {
      const scheme = modules.get(module);
      if (scheme !== undefined) return unpackQuantized(module, scheme, source);
      throw new KvantError("INVALID_ARGUMENT", `"${module}" is no quantized module of the checkpoint`);
    },
  };
}
