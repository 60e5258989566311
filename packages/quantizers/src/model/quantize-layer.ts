import { dequantize, type QuantizedTensor, weightFormatName } from "@kvant/formats";
import { searchAwqClip } from "../awq/search-awq-clip.ts";
import { type GptqFactor, gptqFactor } from "../gptq/gptq-factor.ts";
import { quantizeGptq } from "../gptq/quantize-gptq.ts";
import { quantizeWeight } from "../methods.ts";
import { nearestCodes } from "../nearest-codes.ts";
import type { LinearReport } from "../report/quantization-report.ts";
import { requireFinite } from "../require-finite.ts";
import { foldPart, type PartLinear } from "./fold-part.ts";
import { linearReport } from "./linear-report.ts";
import { dividedStatistics, type PartStatistics } from "./part-statistics.ts";
import type { LayerPart, LayerTensors } from "./quantize-runtime.ts";
import { type Recipe, recipeFor } from "./recipe.ts";

/** One decoder layer after quantization. */
export interface QuantizedLayer {
  /** Quantized weights by module. */
  readonly quantized: ReadonlyMap<string, QuantizedTensor>;
  /** Every other tensor of the layer by name; folding may have changed it. */
  readonly floats: ReadonlyMap<string, Float32Array>;
  readonly reports: readonly LinearReport[];
  readonly kept: readonly { readonly module: string; readonly reason: string }[];
}

/**
 * Quantizes the linear layers of one decoder layer under a recipe: folds first, since a fold moves weights of the layer
 * before, then scales and codes of each matrix.
 * @param statistics of each part in order; undefined where the recipe needs no calibration
 * @throws KvantError WEIGHT_NOT_FINITE naming the tensor, INVALID_ARGUMENT for layouts that do not go with a method
 */
export function quantizeLayer(
  parts: readonly LayerPart[],
  original: LayerTensors,
  recipe: Recipe,
  statistics: readonly PartStatistics[] | undefined,
): QuantizedLayer {
  const tensors = new Map(original);
  for (const [name, values] of tensors) requireFinite(values, name);
  const kept: { module: string; reason: string }[] = [];
  const jobs = parts.map((part, index) => {
    const linears = partLinears(part, tensors, recipe, kept);
    const seen = statistics?.[index];
    const fold = seen === undefined ? undefined : foldPart(part, linears, seen, tensors);
    return { part, linears, seen, fold };
  });

  const quantized = new Map<string, QuantizedTensor>();
  const reports: LinearReport[] = [];
  for (const { part, linears, seen, fold } of jobs) {
    const after = seen === undefined || fold === undefined ? seen : dividedStatistics(seen, fold.scales);
    let factor: GptqFactor | undefined;
    for (const linear of linears) {
      const values = tensors.get(`${linear.module}.weight`)!;
      if (linear.recipe.rounding === "gptq") factor ??= gptqFactor(after!.gram, part.width, recipe);
      const { tensor, notes } = quantizeLinear(linear, part.width, values, after, factor, recipe);
      quantized.set(linear.module, tensor);
      const nearest = nearestCodes(
        original.get(`${linear.module}.weight`)!,
        linear.rows,
        part.width,
        tensor.weightFormat,
      );
      reports.push(
        linearReport({
          linear,
          values,
          tensor,
          before: seen && { statistics: seen, original: original.get(`${linear.module}.weight`)!, nearest },
          after,
          notes: fold === undefined ? notes : [fold.note, ...notes],
        }),
      );
    }
  }
  const floats = new Map([...tensors].filter(([name]) => !quantized.has(name.replace(/\.weight$/, ""))));
  return { quantized, floats, reports, kept };
}

/** The layer as it computes after quantization, for the forward pass that feeds the next layer. */
export function dequantizedTensors({ quantized, floats }: Pick<QuantizedLayer, "quantized" | "floats">): LayerTensors {
  const tensors = new Map(floats);
  for (const [module, tensor] of quantized) tensors.set(`${module}.weight`, dequantize(tensor));
  return tensors;
}

function partLinears(
  part: LayerPart,
  tensors: LayerTensors,
  recipe: Recipe,
  kept: { module: string; reason: string }[],
): readonly PartLinear[] {
  return part.modules.flatMap((module) => {
    const answer = recipeFor(recipe, module);
    if (answer.kind === "keep") {
      kept.push({ module, reason: answer.reason });
      return [];
    }
    const rows = tensors.get(`${module}.weight`)!.length / part.width;
    return [{ module, rows, recipe: answer.linear }];
  });
}

function quantizeLinear(
  { module, rows, recipe: linear }: PartLinear,
  cols: number,
  values: Float32Array,
  statistics: PartStatistics | undefined,
  factor: GptqFactor | undefined,
  { actOrder }: Recipe,
): { readonly tensor: QuantizedTensor; readonly notes: readonly string[] } {
  const { weightFormat, rounding, fold } = linear;
  if (rounding === "gptq") {
    const result = quantizeGptq(values, rows, cols, statistics!.gram, weightFormat, { actOrder, factor: factor! });
    const notes = [`gptq damping ${result.damping}`];
    if (result.deadColumnCount > 0) notes.push(`${result.deadColumnCount} inputs were never active`);
    if (result.keptRoundToNearestRows > 0) notes.push(`${result.keptRoundToNearestRows} rows kept round to nearest`);
    return { tensor: result.tensor, notes };
  }
  if (fold === "awq" && rounding === "absmax") {
    const result = searchAwqClip({ values, rows, cols, gram: statistics!.gram, weightFormat });
    const ratio = result.lossBefore === 0 ? 1 : result.lossAfter / result.lossBefore;
    return { tensor: result.tensor, notes: [`awq clipping: output error x ${ratio.toFixed(3)}`] };
  }
  const tensor = quantizeWeight(rounding, values, rows, cols, weightFormat, { name: `${module}.weight` });
  return { tensor, notes: [] };
}

/** Such as `int4-g128`. */
export function tensorFormat({ weightFormat }: QuantizedTensor): string {
  return weightFormatName(weightFormat);
}
