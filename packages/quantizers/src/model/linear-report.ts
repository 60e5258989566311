import { formats, weightBytes, weightFormatName } from "@kvant/formats";
import { nearestCodes, restoredValues } from "../nearest-codes.ts";
import { quantizationError } from "../quantization-error.ts";
import { magnitudeHistogram } from "../report/magnitude-counts.ts";
import type { LinearReport } from "../report/quantization-report.ts";
import { valueHistograms } from "../report/value-histogram.ts";
import type { PartLinear } from "./fold-part.ts";
import { type LinearRecipe, methodName } from "./linear-recipe.ts";
import type { PartStatistics } from "./part-statistics.ts";
import { type RoundedLinear, roundsToNearest } from "./round-linear.ts";

export interface LinearOutcome extends RoundedLinear {
  readonly linear: PartLinear;
  readonly values: Float32Array; // [rows, cols], what was quantized, after folding
  readonly calibration: LinearCalibration | undefined;
}

/** What calibration knows of a linear layer and what it reads. */
export interface LinearCalibration {
  /** Activations before and after folding; the same where nothing was folded. */
  readonly before: PartStatistics;
  readonly after: PartStatistics;
  readonly original: Float32Array; // [rows, cols], before folding; the same array as what was quantized if no fold met it
}

/** What quantization has done to one linear layer, measured. What the method has measured is not measured again. */
export function linearReport(outcome: LinearOutcome): LinearReport {
  const { linear, values, tensor, calibration, notes } = outcome;
  const { rows, cols, weightFormat, scales } = tensor;
  const restored = outcome.restored ?? restoredValues(tensor);
  const bytes = weightBytes(weightFormat, rows, cols);
  const [weightsBefore, weightsAfter] = valueHistograms(values, restored);
  const { bits } = formats[weightFormat.format];
  return {
    name: linear.module,
    rows,
    cols,
    weightFormat: weightFormatName(weightFormat),
    activations: activationsName(linear.recipe),
    method: methodName(linear.recipe),
    bitsPerWeight: (8 * (bytes.codes + bytes.scales)) / (rows * cols),
    ...(bits < 4 ? { codeBits: bits } : {}),
    weight: quantizationError(values, tensor, restored),
    ...outputFigures(outcome, restored),
    weightsBefore,
    weightsAfter,
    scales: magnitudeHistogram(scales),
    activationsBefore: calibration === undefined ? null : calibration.before.magnitudes.histogram(),
    activationsAfter: null,
    activationScale: null,
    notes,
  };
}

/**
 * `||X E^T|| / ||X W^T||` through the Gram matrix of X: of the tensor with what was folded, and of round to nearest with the
 * original. A fold of the layer's own input leaves `X W^T` as it is, that of the next layer's divides its rows.
 */
function outputFigures(
  { linear, values, tensor, calibration, outputErrors: measured }: LinearOutcome,
  restored: Float32Array,
): Pick<LinearReport, "outputRelativeError" | "roundToNearestOutputError"> {
  if (calibration === undefined) return { outputRelativeError: null, roundToNearestOutputError: null };
  const { rows, cols, weightFormat } = tensor;
  const { before, after, original } = calibration;
  const errorOf = (weights: Float32Array, rounded: Float32Array, { gram }: PartStatistics) =>
    gram.outputError(weights, rounded, rows);
  const energyOf = (weights: Float32Array, { gram }: PartStatistics) => gram.outputError(weights, undefined, rows);
  const relative = (error: number, energy: number) => (error === 0 ? 0 : Math.sqrt(error / energy));

  const own = measured?.own ?? errorOf(values, restored, after);
  const energy = energyOf(values, after);
  const outputRelativeError = relative(own, energy);
  if (values === original) {
    const measuredNearest = measured?.nearest ?? (roundsToNearest(linear.recipe) ? own : undefined);
    if (measuredNearest !== undefined) {
      return { outputRelativeError, roundToNearestOutputError: relative(measuredNearest, energy) };
    }
  }
  const nearest = errorOf(original, restoredValues(nearestCodes(original, rows, cols, weightFormat)), before);
  const originalEnergy = values === original ? energy : energyOf(original, before);
  return { outputRelativeError, roundToNearestOutputError: relative(nearest, originalEnergy) };
}

function activationsName({ activations }: LinearRecipe): string {
  if (activations === undefined) return "16 bit";
  return `${activations.format} (${activations.scale === "dynamic" ? "per token" : "static"})`;
}
