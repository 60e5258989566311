import { type QuantizedTensor, roundTo } from "@kvant/formats";
import { restoredValues } from "../nearest-codes.ts";
import type { LinearReport } from "../report/quantization-report.ts";
import { requireFinite } from "../require-finite.ts";
import { type FloatFormat, foldPart, type PartFold, type PartLinear } from "./fold-part.ts";
import { linearReport } from "./linear-report.ts";
import { dividedStatistics, type PartStatistics } from "./part-statistics.ts";
import type { LayerPart, LayerTensors } from "./quantize-runtime.ts";
import { type Recipe, recipeFor } from "./recipe.ts";
import { type RoundedLinear, roundLinear } from "./round-linear.ts";

/** One decoder layer after quantization. */
export interface QuantizedLayer {
  /** Quantized weights by module. */
  readonly quantized: ReadonlyMap<string, QuantizedTensor>;
  /** Values of quantized weights by module, of those whose method had them anyway. */
  readonly restored?: ReadonlyMap<string, Float32Array>;
  /** Every other tensor of the layer by name; folding may have changed it. */
  readonly floats: ReadonlyMap<string, Float32Array>;
  readonly reports: readonly LinearReport[];
  readonly kept: readonly KeptModule[];
}

/** A linear layer that the recipe does not quantize. */
export interface KeptModule {
  readonly module: string;
  readonly reason: string;
}

export interface QuantizeLayerOptions {
  readonly parts: readonly LayerPart[];
  readonly tensors: LayerTensors;
  readonly recipe: Recipe;
  /** Of each part in order; undefined where the recipe needs no calibration. */
  readonly statistics: readonly PartStatistics[] | undefined;
  /** How a tensor is written that stays in float; default bf16 for all. */
  readonly floatFormat?: ((name: string) => FloatFormat) | undefined;
}

/**
 * Quantizes the linear layers of one decoder layer under a recipe: folds first, since a fold moves weights of the layer
 * before, then scales and codes of each matrix. Float tensors that a fold has changed are rounded as they are written, so that
 * what runs here is what is read back; others stay to the bit.
 * @throws KvantError WEIGHT_NOT_FINITE naming the tensor, INVALID_ARGUMENT for layouts that do not go with a method, for two
 * kinds of fold in one part, and for a method that needs statistics where there are none
 */
export function quantizeLayer(options: QuantizeLayerOptions): QuantizedLayer {
  const { tensors: original, recipe, floatFormat = () => "bf16" } = options;
  const { tensors, parts, kept } = foldLayer(options);
  const quantized = new Map<string, QuantizedTensor>();
  const restored = new Map<string, Float32Array>();
  const reports: LinearReport[] = [];
  for (const part of parts) {
    const { statistics: before, fold } = part;
    const { after, linears } = roundPart(part, tensors, recipe);
    for (const { linear, rounded } of linears) {
      quantized.set(linear.module, rounded.tensor);
      if (rounded.restored !== undefined) restored.set(linear.module, rounded.restored);
      const weightName = `${linear.module}.weight`;
      const calibration = before && after && { before, after, original: original.get(weightName)! };
      const notes = fold === undefined ? rounded.notes : [fold.note, ...rounded.notes];
      reports.push(linearReport({ ...rounded, linear, values: tensors.get(weightName)!, calibration, notes }));
    }
    if (after !== before) after?.gram.release();
  }
  const floats = new Map<string, Float32Array>();
  for (const [name, values] of tensors) {
    if (quantized.has(name.replace(/\.weight$/, ""))) continue;
    const isChanged = values !== original.get(name);
    floats.set(name, isChanged ? roundedFloats(name, values, floatFormat(name)) : values);
  }
  return { quantized, restored, floats, reports, kept };
}

/** The layer as it computes after quantization, for the forward pass that feeds the next layer. */
export function dequantizedTensors({
  quantized,
  restored,
  floats,
}: Pick<QuantizedLayer, "quantized" | "restored" | "floats">): LayerTensors {
  const tensors = new Map(floats);
  for (const [module, tensor] of quantized) {
    tensors.set(`${module}.weight`, restored?.get(module) ?? restoredValues(tensor));
  }
  return tensors;
}

/** A part of a layer whose factors have moved. */
export interface FoldedPart {
  readonly part: LayerPart;
  /** Those that are to be quantized. */
  readonly linears: readonly PartLinear[];
  /** Of the activations before folding. */
  readonly statistics: PartStatistics | undefined;
  readonly fold: PartFold | undefined;
}

/** A decoder layer between folding and rounding: it computes what it did. */
export interface FoldedLayer {
  readonly tensors: LayerTensors;
  readonly parts: readonly FoldedPart[];
  readonly kept: readonly KeptModule[];
}

/**
 * Moves factors between the weights of a layer as its recipe wants them.
 * @throws KvantError WEIGHT_NOT_FINITE naming the tensor, INVALID_ARGUMENT for two kinds of fold in one part
 */
export function foldLayer({
  parts,
  tensors: original,
  recipe,
  statistics,
  floatFormat = () => "bf16",
}: QuantizeLayerOptions): FoldedLayer {
  const tensors = new Map(original);
  for (const [name, values] of tensors) requireFinite(values, name);
  const kept: KeptModule[] = [];
  const folded = parts.map((part, index): FoldedPart => {
    const linears: PartLinear[] = [];
    for (const module of part.modules) {
      const answer = recipeFor(recipe, module);
      if (answer.kind === "keep") {
        kept.push({ module, reason: answer.reason });
      } else {
        const rows = tensors.get(`${module}.weight`)!.length / part.width;
        linears.push({ module, rows, recipe: answer.linear });
      }
    }
    const seen = statistics?.[index];
    const normFormat = floatFormat(`${part.madeBy.module}.weight`);
    const fold = seen === undefined ? undefined : foldPart(part, linears, seen, tensors, normFormat);
    return { part, linears, statistics: seen, fold };
  });
  return { tensors, parts: folded, kept };
}

/** The linear layers of a folded part with their codes, and the statistics of what they read now. */
export function roundPart(
  { part, linears, statistics, fold }: FoldedPart,
  tensors: LayerTensors,
  recipe: Pick<Recipe, "damping" | "actOrder">,
) {
  const cols = part.width;
  const after =
    statistics === undefined || fold === undefined ? statistics : dividedStatistics(statistics, fold.scales);
  const rounded = linears.map((linear): { readonly linear: PartLinear; readonly rounded: RoundedLinear } => {
    const values = tensors.get(`${linear.module}.weight`)!;
    return { linear, rounded: roundLinear({ linear, values, cols, statistics: after, gptq: recipe }) };
  });
  return { after, linears: rounded };
}

function roundedFloats(name: string, values: Float32Array, format: FloatFormat): Float32Array {
  if (format === "fp32") return values;
  const rounded = values.map((value) => roundTo(format, value));
  requireFinite(rounded, name);
  return rounded;
}
