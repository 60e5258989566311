import { dequantize, formats, type QuantizedTensor, weightBytes, weightFormatName } from "@kvant/formats";
import { rowMajor } from "../linear-algebra/matrix-view.ts";
import { outputErrors, total } from "../linear-algebra/output-error.ts";
import { quantizationError } from "../quantization-error.ts";
import { magnitudeHistogram } from "../report/magnitude-counts.ts";
import type { LinearReport } from "../report/quantization-report.ts";
import { valueHistograms } from "../report/value-histogram.ts";
import type { PartLinear } from "./fold-part.ts";
import { type LinearRecipe, methodName } from "./linear-recipe.ts";
import type { PartStatistics } from "./part-statistics.ts";

export interface LinearOutcome {
  readonly linear: PartLinear;
  /** `[rows, cols]` what was quantized, after folding. */
  readonly values: Float32Array;
  readonly tensor: QuantizedTensor;
  /** The layer before folding, and round to nearest of it under the same format; undefined without calibration. */
  readonly before:
    | { readonly statistics: PartStatistics; readonly original: Float32Array; readonly nearest: QuantizedTensor }
    | undefined;
  /** Activations after folding. */
  readonly after: PartStatistics | undefined;
  readonly notes: readonly string[];
}

/** What quantization has done to one linear layer, measured. */
export function linearReport({ linear, values, tensor, before, after, notes }: LinearOutcome): LinearReport {
  const { rows, cols, weightFormat, scales } = tensor;
  const restored = dequantize(tensor);
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
    weight: quantizationError(values, tensor),
    outputRelativeError: after === undefined ? null : relativeOutputError(values, restored, rows, cols, after),
    roundToNearestOutputError:
      before === undefined
        ? null
        : relativeOutputError(before.original, dequantize(before.nearest), rows, cols, before.statistics),
    weightsBefore,
    weightsAfter,
    scales: magnitudeHistogram(scales),
    activationsBefore: before === undefined ? null : before.statistics.magnitudes.histogram(),
    activationsAfter: null,
    activationScale: null,
    notes,
  };
}

/** `||X (W - Q)^T|| / ||X W^T||` through the Gram matrix of X; 0 where nothing was lost. */
function relativeOutputError(
  values: Float32Array,
  restored: Float32Array,
  rows: number,
  cols: number,
  { gram }: PartStatistics,
): number {
  const error = new Float64Array(values.length);
  for (let i = 0; i < error.length; i++) error[i] = values[i]! - restored[i]!;
  const noise = total(outputErrors(error, rows, cols, rowMajor(gram, cols)));
  if (noise === 0) return 0;
  return Math.sqrt(noise / total(outputErrors(Float64Array.from(values), rows, cols, rowMajor(gram, cols))));
}

function activationsName({ activations }: LinearRecipe): string {
  if (activations === undefined) return "16 bit";
  return `${activations.format} (${activations.scale === "dynamic" ? "per token" : "static"})`;
}
