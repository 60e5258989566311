import { KvantError } from "@kvant/core";
import { parseWeightFormat, type WeightFormat } from "@kvant/formats";
import { divideColumns, scaleColumns } from "../awq/fold-scales.ts";
import type { LinearWeight } from "../awq/search-awq-scales.ts";
import { shareChannels } from "../awq/shared-channels.ts";
import { checkedMagnitude } from "../grid/group-scales.ts";
import { addProduct } from "../linear-algebra/add-product.ts";
import { rowMajor, transposed } from "../linear-algebra/matrix-view.ts";
import { nearestCodes, restoredValues } from "../nearest-codes.ts";
import { batchMaximum } from "../observers/activation-observer.ts";
import { addColumnMaxima, smoothingScales } from "./smoothing-scales.ts";

export interface AlphaRequest {
  /** Every layer that the input enters: they share the scales. */
  readonly linears: readonly LinearWeight[];
  readonly cols: number;
  /** A sample of the layer's inputs, on which alphas are compared. */
  readonly activations: Float32Array; // [samples, cols]
  readonly samples: number;
  /** [cols], max |x| over all calibration tokens; default: over the sample. */
  readonly activationMax?: Float32Array;
  /** [cols]; channels with the same source get the same scale, from their largest magnitudes. Default: each its own. */
  readonly source?: Int32Array;
  /** Default 0, 0.05, ... 1. No smoothing at all is always tried as well. */
  readonly alphas?: readonly number[];
  /** Default int8 with a scale per row. */
  readonly weightFormat?: WeightFormat;
  /** Default int8. Activations take one scale per token. */
  readonly activationFormat?: "int8" | "e4m3";
}

export interface SmoothingChoice {
  /** `undefined`: no alpha was better than no smoothing, and all scales are 1. */
  readonly alpha: number | undefined;
  readonly scales: Float32Array; // [cols]
  /** `||Q(X) Q(W)^T - X W^T||^2` on the sample, without smoothing. */
  readonly lossBefore: number;
  /** The same with the chosen scales; never above `lossBefore`. */
  readonly lossAfter: number;
}

const defaultAlphas = Array.from({ length: 21 }, (_, step) => step / 20);

/**
 * Chooses SmoothQuant's alpha for one input by what quantization of both sides does to the outputs on a sample of tokens. Xiao
 * et al. 2022, section 4, search a grid for one alpha of the whole model; here each input has its own. Activations have a scale
 * per token, as at run time, and products are those of dequantized operands. Of equal losses the first wins, no smoothing
 * before all.
 * @throws KvantError INVALID_ARGUMENT if sizes do not match, the sample is empty or an activation is not finite;
 * WEIGHT_NOT_FINITE
 */
export function searchAlpha(request: AlphaRequest): SmoothingChoice {
  const { linears, cols, activations, samples, source, alphas = defaultAlphas } = request;
  if (samples < 1) throw new KvantError("INVALID_ARGUMENT", "SmoothQuant's alpha is chosen on at least one token");
  batchMaximum(activations, samples, cols);
  const weightMax = new Float32Array(cols);
  for (const { values, rows } of linears) {
    checkedMagnitude(values, rows, cols);
    addColumnMaxima(values, rows, cols, weightMax);
  }
  const sampleMax = new Float32Array(cols);
  addColumnMaxima(activations, samples, cols, sampleMax);
  const share = (maxima: Float32Array) => (source === undefined ? maxima : shareChannels(maxima, source, "max"));
  const shared = { activations: share(request.activationMax ?? sampleMax), weights: share(weightMax) };

  const exact = linears.map(({ values, rows }) => outputs(activations, values, samples, rows, cols));
  const lossOf = (scales: Float32Array) => smoothedLoss(request, scales, exact);
  let scales: Float32Array = new Float32Array(cols).fill(1);
  let alpha: number | undefined;
  const lossBefore = lossOf(scales);
  let lossAfter = lossBefore;
  for (const candidate of alphas) {
    const candidateScales = smoothingScales(shared.activations, shared.weights, candidate);
    const loss = lossOf(candidateScales);
    if (loss >= lossAfter) continue;
    [alpha, scales, lossAfter] = [candidate, candidateScales, loss];
  }
  return { alpha, scales, lossBefore, lossAfter };
}

function smoothedLoss(request: AlphaRequest, scales: Float32Array, exact: readonly Float64Array[]): number {
  const { linears, cols, activations, samples, activationFormat = "int8" } = request;
  const defaultFormat = request.weightFormat ?? parseWeightFormat("int8-channel");
  const perToken = { format: activationFormat, granularity: { kind: "channel", axis: 0 }, affine: false } as const;
  const smoothed = divideColumns(activations, samples, cols, scales);
  const x = restoredValues(nearestCodes(smoothed, samples, cols, perToken));
  let loss = 0;
  linears.forEach(({ values, rows, weightFormat = defaultFormat }, index) => {
    const w = restoredValues(nearestCodes(scaleColumns(values, rows, cols, scales), rows, cols, weightFormat));
    const quantized = outputs(x, w, samples, rows, cols);
    for (let i = 0; i < quantized.length; i++) loss += (quantized[i]! - exact[index]![i]!) ** 2;
  });
  return loss;
}

/** `x w^T` [samples, rows] in float64. */
function outputs(x: Float32Array, w: Float32Array, samples: number, rows: number, cols: number): Float64Array {
  const products = new Float64Array(samples * rows);
  addProduct({
    target: rowMajor(products, rows),
    left: rowMajor(x, cols),
    right: transposed(rowMajor(w, cols)),
    rows: samples,
    cols: rows,
    depth: cols,
    sign: 1,
  });
  return products;
}
