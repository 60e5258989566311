import { formats } from "@kvant/formats";
import { divideRows, divideVector, scaleColumns } from "../awq/fold-scales.ts";
import { searchAwqScales } from "../awq/search-awq-scales.ts";
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

/**
 * Chooses the factor of each input channel of a part for the layers that ask for a fold, and moves it: what makes the
 * activations is divided, weight columns are multiplied, both in `tensors`. In exact arithmetic the layer computes the same.
 * @returns undefined where nothing is folded
 */
export function foldPart(
  part: LayerPart,
  linears: readonly PartLinear[],
  statistics: PartStatistics,
  tensors: Map<string, Float32Array>,
): PartFold | undefined {
  const folding = linears.filter(({ recipe }) => recipe.fold !== undefined);
  const first = folding[0];
  if (first === undefined) return undefined;
  const fold = first.recipe.fold!;
  const choice = chooseScales(part, fold, folding, statistics, tensors);
  if (choice === undefined) return undefined;
  const scales = moveScales(part, choice.scales, tensors);
  return { scales, note: choice.note };
}

function chooseScales(
  part: LayerPart,
  fold: Fold,
  folding: readonly PartLinear[],
  statistics: PartStatistics,
  tensors: ReadonlyMap<string, Float32Array>,
): { readonly scales: Float32Array; readonly note: string } | undefined {
  const linears = folding.map(({ module, rows }) => ({ values: tensors.get(`${module}.weight`)!, rows }));
  const { weightFormat, activations } = folding[0]!.recipe;
  const cols = part.width;
  if (fold === "awq") {
    const { scales, ratio, lossBefore, lossAfter } = searchAwqScales({
      linears,
      cols,
      activationMagnitude: statistics.meanMagnitude,
      source: part.source,
      gram: statistics.gram,
      weightFormat,
    });
    if (ratio === 0) return undefined;
    return { scales, note: `awq ratio ${ratio.toFixed(2)}: output error x ${(lossAfter / lossBefore).toFixed(3)}` };
  }
  const { alpha, scales, lossBefore, lossAfter } = searchAlpha({
    linears,
    cols,
    activations: statistics.sample,
    samples: statistics.sampleCount,
    activationMax: statistics.maxMagnitude,
    source: part.source,
    weightFormat,
    activationFormat: activations!.format,
  });
  if (alpha === undefined) return undefined;
  return {
    scales,
    note: `smoothquant alpha ${alpha.toFixed(2)}: output error x ${(lossAfter / lossBefore).toFixed(3)}`,
  };
}

/**
 * Divides the maker by the factors and multiplies the columns. What the maker becomes is rounded to bfloat16, as checkpoints
 * hold norms, and the columns take the quotient that this leaves: the rounding cancels instead of adding an error.
 * @returns `[width]` the factors as they are after rounding
 */
function moveScales(part: LayerPart, chosen: Float32Array, tensors: Map<string, Float32Array>): Float32Array {
  const { madeBy, source, width } = part;
  const weightName = `${madeBy.module}.weight`;
  const maker = tensors.get(weightName)!;
  const makerScales = new Float32Array(
    madeBy.kind === "norm" ? maker.length : 1 + source.reduce((a, b) => Math.max(a, b), 0),
  );
  makerScales.fill(1);
  for (let channel = 0; channel < width; channel++) makerScales[source[channel]!] = chosen[channel]!;
  if (madeBy.kind === "norm") {
    const divided = divideVector(maker, makerScales).map(toBfloat16);
    for (let i = 0; i < divided.length; i++) {
      if (divided[i] === 0 || maker[i] === 0) [divided[i], makerScales[i]] = [maker[i]!, 1];
      else makerScales[i] = maker[i]! / divided[i]!;
    }
    tensors.set(weightName, divided);
  } else {
    const rows = makerScales.length;
    tensors.set(weightName, divideRows(maker, rows, maker.length / rows, makerScales));
    const biasName = `${madeBy.module}.bias`;
    if (part.hasSourceBias) tensors.set(biasName, divideVector(tensors.get(biasName)!, makerScales));
  }
  const scales = Float32Array.from(source, (channel) => makerScales[channel]!);
  for (const module of part.modules) {
    const values = tensors.get(`${module}.weight`)!;
    tensors.set(`${module}.weight`, scaleColumns(values, values.length / width, width, scales));
  }
  return scales;
}

function toBfloat16(value: number): number {
  return formats.bf16.decode(formats.bf16.encode(value));
}
