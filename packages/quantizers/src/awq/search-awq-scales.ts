import { KvantError } from "@kvant/core";
import type { WeightFormat } from "@kvant/formats";
import { checkedMagnitude } from "../grid/group-scales.ts";
import { roundingErrors, total } from "../linear-algebra/output-error.ts";
import { nearestCodes, restoredValues } from "../nearest-codes.ts";
import { divideColumns, scaleColumns } from "./fold-scales.ts";
import { shareChannels } from "./shared-channels.ts";

/** A weight matrix [rows, cols] among those that share an input. */
export interface LinearWeight {
  readonly values: Float32Array; // [rows, cols]
  readonly rows: number;
  /** Default: that of the request. */
  readonly weightFormat?: WeightFormat;
}

export interface AwqScalesRequest {
  /** Every layer that the input enters: they share the scales. */
  readonly linears: readonly LinearWeight[];
  readonly cols: number;
  readonly activationMagnitude: Float32Array; // [cols], mean |x| over calibration tokens
  readonly gram: Float64Array; // [cols, cols], X^T X, or divided by the number of tokens
  readonly weightFormat: WeightFormat;
  /** [cols]; channels with the same source get the same scale, from the mean of their magnitudes. Default: each its own. */
  readonly source?: Int32Array;
  /** Ratios 0, 1 / gridSteps, ... below 1; default 20. */
  readonly gridSteps?: number;
  /** How weights are quantized; default: by AbsMax. */
  readonly quantize?: typeof nearestCodes;
}

export interface AwqScales {
  /** [cols]. Weight columns are multiplied by them, inputs divided. */
  readonly scales: Float32Array;
  /** The chosen exponent; 0: all scales are 1. */
  readonly ratio: number;
  /** Output error, in the unit of the Gram matrix, of round-to-nearest. */
  readonly lossBefore: number;
  /** The same with the chosen scales; never above `lossBefore`. */
  readonly lossAfter: number;
  /** [gridSteps], the loss of every ratio. */
  readonly losses: Float64Array;
}

/**
 * AWQ's scale search (Lin et al. 2023, arXiv:2306.00978, section 3.2, equations 4 and 5): among `s = s_X^ratio`, where s_X is
 * the mean magnitude of an input channel, the one with the least `||Q(W diag(s)) diag(s)^-1 X - W X||^2`, summed over the
 * layers that share the input. As in the authors' code scales are divided by `sqrt(max * min)`. The loss is taken through the
 * Gram matrix, `tr(E G E^T)`, so that no activations are kept. Ratio 0 is round-to-nearest. Channels that were never active
 * keep scale 1 and take no part in the normalization.
 * @throws KvantError INVALID_ARGUMENT if sizes do not match or a magnitude is negative, NaN or infinite; WEIGHT_NOT_FINITE
 */
export function searchAwqScales(request: AwqScalesRequest): AwqScales {
  const { linears, cols, gram, activationMagnitude } = request;
  if (gram.length !== cols * cols) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${activationMagnitude.length} magnitudes and ${gram.length} sums do not go with ${cols} columns`,
    );
  }
  for (const { values, rows } of linears) checkedMagnitude(values, rows, cols);
  return chooseAwqScales(request, (linear, candidates) =>
    candidates.map((scales) => scaledLoss(linear, cols, scales, gram, request)),
  );
}

/**
 * `searchAwqScales` with the objective computed elsewhere: `lossesOf` answers what each candidate of column scales [cols] costs a
 * matrix, and checks it.
 * @throws KvantError INVALID_ARGUMENT if sizes do not match or a magnitude is negative, NaN or infinite
 */
export function chooseAwqScales(
  request: Omit<AwqScalesRequest, "gram" | "quantize">,
  lossesOf: (linear: LinearWeight, candidates: readonly Float32Array[]) => ArrayLike<number>,
): AwqScales {
  const { linears, source, gridSteps = 20 } = request;
  checkRequest(request, gridSteps);
  const magnitude =
    source === undefined ? request.activationMagnitude : shareChannels(request.activationMagnitude, source, "mean");
  const candidates = Array.from({ length: gridSteps }, (_, step) => awqScales(magnitude, step / gridSteps));
  const losses = new Float64Array(gridSteps);
  for (const linear of linears) {
    const own = lossesOf(linear, candidates);
    for (let step = 0; step < gridSteps; step++) losses[step]! += own[step]!;
  }
  const best = losses.reduce((least, loss, step) => (loss < losses[least]! ? step : least), 0);
  const ratio = best / gridSteps;
  return { scales: candidates[best]!, ratio, lossBefore: losses[0]!, lossAfter: losses[best]!, losses };
}

function checkRequest(
  { cols, activationMagnitude }: Pick<AwqScalesRequest, "cols" | "activationMagnitude">,
  gridSteps: number,
): void {
  if (activationMagnitude.length !== cols) {
    throw new KvantError("INVALID_ARGUMENT", `${activationMagnitude.length} magnitudes do not go with ${cols} columns`);
  }
  if (!Number.isSafeInteger(gridSteps) || gridSteps < 1) {
    throw new KvantError("INVALID_ARGUMENT", `gridSteps is a positive integer, not ${gridSteps}`);
  }
  const wrong = activationMagnitude.find((each) => !(each >= 0 && each < Infinity));
  if (wrong !== undefined) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `the mean magnitude of a channel is finite and not negative, not ${wrong}`,
    );
  }
}

/** `magnitude^ratio / sqrt(max * min)`; the powers are at least 1e-4 as in the authors' code. Exactly 1 for ratio 0. */
function awqScales(magnitude: Float32Array, ratio: number): Float32Array {
  const scales = new Float64Array(magnitude.length);
  let [smallest, largest] = [Infinity, 0];
  for (let col = 0; col < scales.length; col++) {
    if (magnitude[col] === 0) continue;
    const scale = Math.max(magnitude[col]! ** ratio, 1e-4);
    scales[col] = scale;
    smallest = Math.min(smallest, scale);
    largest = Math.max(largest, scale);
  }
  const norm = Math.sqrt(largest * smallest);
  return Float32Array.from(scales, (scale) => (scale === 0 ? 1 : scale / norm));
}

function scaledLoss(
  { values, rows, weightFormat }: LinearWeight,
  cols: number,
  scales: Float32Array,
  gram: Float64Array,
  { quantize = nearestCodes, ...request }: AwqScalesRequest,
): number {
  const tensor = quantize(scaleColumns(values, rows, cols, scales), rows, cols, weightFormat ?? request.weightFormat);
  const restored = divideColumns(restoredValues(tensor), rows, cols, scales);
  return total(roundingErrors(values, restored, rows, cols, gram));
}
