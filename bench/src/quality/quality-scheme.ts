import { compressionFormat } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { type LinearRecipe, type LinearRecipeNames, needsCalibration, parseLinearRecipe } from "@kvant/quantizers";

/** One row of a quality table: the checkpoint as it is in another float format, or quantized by a recipe. */
export type QualityScheme =
  | { readonly kind: "float"; readonly name: string; readonly format: "fp32" | "bf16" | "fp16" }
  | {
      readonly kind: "quantized";
      readonly name: string;
      readonly names: LinearRecipeNames;
      readonly needsCalibration: boolean;
      readonly recipe: LinearRecipe;
    };

/** What README shows of a model: granularity before algorithm, then algorithms where bits are few. */
export const defaultQualitySchemes: readonly string[] = [
  ...["fp32", "bf16"],
  ...["int8-tensor", "int8-channel", "int8-g128", "int8-tensor+int8", "int8-channel+int8"],
  ...["e4m3-tensor", "e4m3-channel"],
  ...["tensor", "channel", "g128", "g32"].flatMap((granularity) => methods(`int4-${granularity}`)),
  ...methods("int3-g128"),
  ...["mxfp4", "nvfp4"],
];

/** What shows how methods meet activation outliers. */
export const outlierQualitySchemes: readonly string[] = [
  ...["fp32", "bf16", "int8-channel"],
  ...["int8-channel+int8", "int8-channel+int8/smoothquant"],
  ...["int8-channel+int8-static", "int8-channel+int8-static/smoothquant"],
  ...["int4-g128", "int4-g128/awq"],
];

function methods(format: string): readonly string[] {
  return [format, `${format}/awq`, `${format}/gptq`];
}

const pattern = /^([a-z0-9]+)(?:-(tensor|channel|g\d+))?(-affine)?(?:\+(int8|e4m3)(-static)?)?(?:\/([a-z+]+))?$/;

/**
 * Reads `WEIGHTS[+ACTIVATIONS[-static]][/METHOD]`: `bf16`, `int4-g128/awq`, `int8-channel+int8/smoothquant`. Without a method
 * weights are rounded to nearest on AbsMax scales; without activations these stay in BF16.
 * @throws KvantError INVALID_ARGUMENT for a name of another form, what `parseLinearRecipe` throws, and
 * QUANTIZATION_UNSUPPORTED for formats that no checkpoint dialect holds
 */
export function parseQualityScheme(name: string): QualityScheme {
  if (name === "fp32" || name === "bf16" || name === "fp16") return { kind: "float", name, format: name };
  const [, format, granularity, affine, activations, fixed, method = "absmax"] = pattern.exec(name) ?? [];
  if (format === undefined) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `"${name}" is no scheme; name weights, then activations and a method where wanted, as in int4-g128/awq or int8-channel+int8`,
      { field: "schemes" },
    );
  }
  if (activations !== undefined && activations !== format) {
    throw new KvantError("INVALID_ARGUMENT", `"${name}": ${activations} activations go with ${activations} weights`, {
      field: "schemes",
    });
  }
  const names: LinearRecipeNames = {
    scheme: activations === undefined ? format : `w8a8-${activations}`,
    ...(granularity === undefined ? {} : { granularity: granularity.replace(/^g(?=\d)/, "group:") }),
    method,
    ...(affine === undefined ? {} : { affine: true }),
    ...(fixed === undefined ? {} : { activations: "static" }),
  };
  const recipe = parseLinearRecipe(names);
  compressionFormat(recipe.weightFormat, recipe.activations); // throws here rather than after an hour of other rows
  return { kind: "quantized", name, names, recipe, needsCalibration: needsCalibration(recipe) };
}
