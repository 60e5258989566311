import type { WeightFormat } from "@kvant/formats";
import { type AwqClip, type AwqClipRequest, searchAwqClip } from "../awq/search-awq-clip.ts";
import { type AwqScales, type AwqScalesRequest, searchAwqScales } from "../awq/search-awq-scales.ts";
import { type GptqFactor, gptqFactor } from "../gptq/gptq-factor.ts";
import { type GptqOptions, type GptqResult, quantizeGptq } from "../gptq/quantize-gptq.ts";
import { rowMajor } from "../linear-algebra/matrix-view.ts";
import { outputErrors, roundingErrors, total } from "../linear-algebra/output-error.ts";

/** A quantized matrix, and its values where whoever made it has them anyway. */
export interface WithRestored {
  /** `[rows, cols]`, `dequantize` of the tensor. */
  readonly restored?: Float32Array | undefined;
}

/**
 * The Gram matrix X^T X of what a part of a layer reads, and what methods compute through it, wherever it lies: in this process
 * (`hostGram`), or on the device that has computed the activations. Results elsewhere are those of the functions here but for the
 * order of float64 sums.
 */
export interface CalibrationGram {
  readonly width: number;
  /** `[width, width]` */
  read(): Float64Array;
  /** That of activations whose channels are divided by `scales`, `X^T X / (s s^T)`. */
  divide(scales: Float32Array): CalibrationGram;
  /** `quantizeGptq`; matrices of one part share the factored Hessian. */
  quantizeGptq(
    values: Float32Array, // [rows, width]
    rows: number,
    weightFormat: WeightFormat,
    options: Pick<GptqOptions, "damping" | "actOrder">,
  ): GptqResult & WithRestored;
  /** `searchAwqScales` */
  searchAwqScales(request: Omit<AwqScalesRequest, "gram" | "cols" | "quantize">): AwqScales;
  /** `searchAwqClip` */
  searchAwqClip(request: Omit<AwqClipRequest, "gram" | "cols">): AwqClip & WithRestored;
  /** `||X (W - R)^T||^2` of values W and what they were rounded to; undefined: 0, which leaves the energy of the outputs. */
  outputError(values: Float32Array, rounded: Float32Array | undefined, rows: number): number;
  /** Gives a device its memory back; nothing else is called after it. */
  release(): void;
}

/** A Gram matrix [width, width] in this process. */
export function hostGram(gram: Float64Array, width: number): CalibrationGram {
  let shared:
    | { readonly damping: number | undefined; readonly actOrder: boolean; readonly factor: GptqFactor }
    | undefined;
  const factorOf = ({ damping, actOrder = false }: Pick<GptqOptions, "damping" | "actOrder">) => {
    if (shared?.damping !== damping || shared?.actOrder !== actOrder) {
      shared = {
        damping,
        actOrder,
        factor: gptqFactor(gram, width, { ...(damping === undefined ? {} : { damping }), actOrder }),
      };
    }
    return shared.factor;
  };
  return {
    width,
    read: () => gram,
    divide: (scales) => {
      const divided = new Float64Array(gram.length);
      for (let row = 0; row < width; row++) {
        for (let col = 0; col < width; col++) {
          divided[row * width + col] = gram[row * width + col]! / (scales[row]! * scales[col]!);
        }
      }
      return hostGram(divided, width);
    },
    quantizeGptq: (values, rows, weightFormat, options) =>
      quantizeGptq(values, rows, width, gram, weightFormat, { ...options, factor: factorOf(options) }),
    searchAwqScales: (request) => searchAwqScales({ ...request, cols: width, gram }),
    searchAwqClip: (request) => searchAwqClip({ ...request, cols: width, gram }),
    outputError: (values, rounded, rows) =>
      total(
        rounded === undefined
          ? outputErrors(new Float64Array(values), rows, width, rowMajor(gram, width))
          : roundingErrors(values, rounded, rows, width, gram),
      ),
    release: () => undefined,
  };
}
