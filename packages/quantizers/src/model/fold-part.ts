import { KvantError } from "@kvant/core";
import { roundTo } from "@kvant/formats";
import { divideRows, divideVector, scaleColumns } from "../awq/fold-scales.ts";
import { searchAlpha } from "../smoothquant/search-alpha.ts";
import type { Fold, LinearRecipe } from "./linear-recipe.ts";
import type { PartStatistics } from "./part-statistics.ts";
import type { LayerPart } from "./quantize-runtime.ts";

/** A linear layer that is to be quantized. */
export interface PartLinear {
  readonly module: string;
  readonly rows: number;
  readonly recipe: LinearRecipe;
}

/** Factors that have moved from a part's activations into its weights. */
export interface PartFold {
  /** `[width]` what activations are divided by and weight columns multiplied. */
  readonly scales: Float32Array;
  readonly note: string;
}

/** How a tensor that stays in float is written. */
export type FloatFormat = "fp32" | "bf16" | "fp16";

/** Factors and what the search that found them says. */
interface Choice {
  readonly scales: Float32Array; // [width]
  readonly name: string;
  readonly lossBefore: number;
  readonly lossAfter: number;
}

/**
 * Chooses the factor of each input channel of a part and moves it: what makes the activations is divided, the weight columns
 * of every module that reads them, kept ones too, are multiplied, both in `tensors`. In exact arithmetic the layer computes the
 * same. One linear layer that asks for a fold is enough; the search counts the errors of all that are quantized, each in its
 * own format, since the factors meet them all.
 * @param normFormat how the norm that makes the activations is written
 * @returns undefined where nothing is folded
 * @throws KvantError INVALID_ARGUMENT for two kinds of fold in one part
 */
export function foldPart(
  part: LayerPart,
  linears: readonly PartLinear[],
  statistics: PartStatistics,
  tensors: Map<string, Float32Array>,
  normFormat: FloatFormat,
): PartFold | undefined {
  const fold = partFold(linears);
  if (fold === undefined) return undefined;
  const search = fold === "awq" ? awqChoice : smoothingChoice;
  const choice = search(part, linears, statistics, tensors);
  if (choice === undefined) return undefined;
  const { name, lossBefore, lossAfter } = choice;
  const scales = moveScales(part, choice.scales, tensors, normFormat);
  return { scales, note: `${name}: output error x ${(lossAfter / lossBefore).toFixed(3)}` };
}

/**
 * The fold that the linear layers of a part ask for.
 * @throws KvantError INVALID_ARGUMENT for two kinds: factors of both would meet in the same channels
 */
export function partFold(linears: readonly Pick<PartLinear, "module" | "recipe">[]): Fold | undefined {
  const [first, ...others] = linears.filter(({ recipe }) => recipe.fold !== undefined);
  const other = others.find(({ recipe }) => recipe.fold !== first?.recipe.fold);
  if (first === undefined || other === undefined) return first?.recipe.fold;
  throw new KvantError(
    "INVALID_ARGUMENT",
    `"${first.module}" and "${other.module}" read the same activations, so ${first.recipe.fold} of the one does not go ` +
      `with ${other.recipe.fold} of the other`,
    { field: "recipe" },
  );
}

function awqChoice(
  part: LayerPart,
  linears: readonly PartLinear[],
  { meanMagnitude, gram }: PartStatistics,
  tensors: ReadonlyMap<string, Float32Array>,
): Choice | undefined {
  const { scales, ratio, lossBefore, lossAfter } = gram.searchAwqScales({
    linears: linears.map((linear) => weightOf(linear, tensors)),
    activationMagnitude: meanMagnitude,
    source: part.source,
    weightFormat: linears[0]!.recipe.weightFormat,
  });
  if (ratio === 0) return undefined;
  return { scales, name: `awq ratio ${ratio.toFixed(2)}`, lossBefore, lossAfter };
}

/** Layers that read the part's activations in another format, or not quantized, are no part of the search. */
function smoothingChoice(
  part: LayerPart,
  linears: readonly PartLinear[],
  { sample, sampleCount, maxMagnitude }: PartStatistics,
  tensors: ReadonlyMap<string, Float32Array>,
): Choice | undefined {
  const { weightFormat, activations } = linears.find(({ recipe }) => recipe.fold === "smoothquant")!.recipe;
  const { format } = activations!; // a recipe with smoothquant quantizes activations
  const alike = linears.filter(({ recipe }) => recipe.activations?.format === format);
  const { alpha, scales, lossBefore, lossAfter } = searchAlpha({
    linears: alike.map((linear) => weightOf(linear, tensors)),
    cols: part.width,
    activations: sample,
    samples: sampleCount,
    activationMax: maxMagnitude,
    source: part.source,
    weightFormat,
    activationFormat: format,
  });
  if (alpha === undefined) return undefined;
  return { scales, name: `smoothquant alpha ${alpha.toFixed(2)}`, lossBefore, lossAfter };
}

function weightOf({ module, rows, recipe }: PartLinear, tensors: ReadonlyMap<string, Float32Array>) {
  return { values: tensors.get(`${module}.weight`)!, rows, weightFormat: recipe.weightFormat };
}

/**
 * Divides the maker by the factors and multiplies the columns. A norm is rounded to the format that it is written in, and the
 * columns take the quotient that this leaves: the rounding cancels instead of adding an error.
 * @returns `[width]` the factors as they are after rounding
 */
function moveScales(
  part: LayerPart,
  chosen: Float32Array,
  tensors: Map<string, Float32Array>,
  normFormat: FloatFormat,
): Float32Array {
  const { madeBy, source } = part;
  const weightName = `${madeBy.module}.weight`;
  const maker = tensors.get(weightName)!;
  const makerChannels =
    madeBy.kind === "norm" ? maker.length : source.reduce((most, each) => Math.max(most, each + 1), 0);
  const makerScales = new Float32Array(makerChannels).fill(1);
  source.forEach((from, channel) => {
    makerScales[from] = chosen[channel]!;
  });
  if (madeBy.kind === "norm") {
    const divided = divideVector(maker, makerScales).map((value) => roundTo(normFormat, value));
    for (let i = 0; i < divided.length; i++) {
      const scale = maker[i]! / divided[i]!;
      if (scale > 0 && scale < Infinity) makerScales[i] = scale;
      else [divided[i], makerScales[i]] = [maker[i]!, 1]; // a dead channel, or one that would vanish
    }
    tensors.set(weightName, divided);
  } else {
    tensors.set(weightName, divideRows(maker, makerChannels, maker.length / makerChannels, makerScales));
    const biasName = `${madeBy.module}.bias`;
    if (part.hasSourceBias) tensors.set(biasName, divideVector(tensors.get(biasName)!, makerScales));
  }
  const scales = Float32Array.from(source, (from) => makerScales[from]!);
  for (const module of part.modules) {
    const values = tensors.get(`${module}.weight`)!;
    tensors.set(`${module}.weight`, scaleColumns(values, values.length / part.width, part.width, scales));
  }
  return scales;
}
