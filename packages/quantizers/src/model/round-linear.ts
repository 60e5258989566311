import { storableTensor } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import type { QuantizedTensor } from "@kvant/formats";
import { quantizeWeight } from "../methods.ts";
import type { WithRestored } from "./calibration-gram.ts";
import type { PartLinear } from "./fold-part.ts";
import type { LinearRecipe } from "./linear-recipe.ts";
import type { PartStatistics } from "./part-statistics.ts";

/** What scales and codes are chosen for. */
export interface RoundRequest {
  readonly linear: PartLinear;
  readonly values: Float32Array; // [rows, cols], after folding
  readonly cols: number;
  /** Of the activations after folding; undefined without calibration. */
  readonly statistics: PartStatistics | undefined;
  readonly gptq: { readonly damping: number; readonly actOrder: boolean };
}

/** Scales and codes of one linear layer. */
export interface RoundedLinear {
  readonly tensor: QuantizedTensor;
  /** What the method has to say beyond figures. */
  readonly notes: readonly string[];
  /** `||X (W - Q)^T||^2` of `tensor` and of round to nearest, where the method has measured them on its way. */
  readonly outputErrors: { readonly own: number; readonly nearest: number } | undefined;
  /** `[rows, cols]`, the values of `tensor`, where the method has them anyway. */
  readonly restored?: Float32Array | undefined;
}

/**
 * Chooses scales and codes by the recipe's rounding; `awq` without another one clips. The tensor is such as a checkpoint holds to
 * the bit.
 *
 * The authors of AWQ clip every layer but queries and keys, whose errors meet in a product that their search does not see.
 * Here these are clipped as well: the search of `searchAwqClip` never leaves a row worse on the calibration tokens than its
 * whole range does, so there is nothing to be kept from.
 * @throws KvantError INVALID_ARGUMENT for layouts that do not go with a method, and for one that needs calibration where there
 * is none
 */
export function roundLinear(request: RoundRequest): RoundedLinear {
  const { linear, values, cols } = request;
  const { weightFormat, rounding } = linear.recipe;
  if (rounding === "gptq") return roundByGptq(request);
  if (clips(linear.recipe)) return roundByAwqClip(request);
  const tensor = quantizeWeight(rounding, values, linear.rows, cols, weightFormat, { name: `${linear.module}.weight` });
  return { ...storable({ tensor }), notes: [], outputErrors: undefined };
}

/** Whether a recipe rounds what it has folded to nearest, under scales of the whole range. */
export function roundsToNearest(recipe: LinearRecipe): boolean {
  return recipe.rounding === "absmax" && !clips(recipe);
}

function clips({ fold, rounding }: LinearRecipe): boolean {
  return fold === "awq" && rounding === "absmax";
}

function roundByGptq(request: RoundRequest): RoundedLinear {
  const { linear, values, gptq } = request;
  const { gram } = calibrated(request);
  const result = gram.quantizeGptq(values, linear.rows, linear.recipe.weightFormat, gptq);
  const { damping, deadColumnCount, keptRoundToNearestRows } = result;
  const notes = [`gptq damping ${damping}`];
  if (deadColumnCount > 0) notes.push(`${deadColumnCount} inputs were never active`);
  if (keptRoundToNearestRows > 0) notes.push(`${keptRoundToNearestRows} rows kept round to nearest`);
  return {
    ...storable(result),
    notes,
    outputErrors: { own: result.outputErrorAfter, nearest: result.outputErrorBefore },
  };
}

function roundByAwqClip(request: RoundRequest): RoundedLinear {
  const { linear, values } = request;
  const { gram } = calibrated(request);
  const { weightFormat } = linear.recipe;
  const clip = gram.searchAwqClip({ values, rows: linear.rows, weightFormat });
  const { lossBefore, lossAfter } = clip;
  const ratio = lossBefore === 0 ? 1 : lossAfter / lossBefore;
  return {
    ...storable(clip),
    notes: [`awq clipping: output error x ${ratio.toFixed(3)}`],
    outputErrors: { own: lossAfter, nearest: lossBefore },
  };
}

/** A tensor as a checkpoint holds it. Values that came with it stay only if nothing had to change. */
function storable({ tensor, restored }: { readonly tensor: QuantizedTensor } & WithRestored) {
  const stored = storableTensor(tensor);
  return { tensor: stored, restored: stored === tensor ? restored : undefined };
}

function calibrated({ linear, statistics }: RoundRequest): PartStatistics {
  if (statistics !== undefined) return statistics;
  const method = clips(linear.recipe) ? "awq" : linear.recipe.rounding;
  throw new KvantError("INVALID_ARGUMENT", `${method} of "${linear.module}" needs calibration activations`, {
    field: "calibration",
  });
}
