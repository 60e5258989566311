import type { QuantizedTensor, WeightFormat } from "@kvant/formats";
import type { Product } from "./linear-algebra/add-product.ts";
import type { ErrorSums } from "./quantization-error.ts";

/** Faster ways to compute what this package computes, bit by bit the same. */
export interface Acceleration {
  /** `addProduct`. */
  readonly addProduct?: ((product: Product) => void) | undefined;
  /** `quantizeAbsMax` of `@kvant/formats`; undefined for weight formats that it does not take. */
  readonly quantizeAbsMax?:
    | ((
        values: Float32Array, // [rows, cols]
        rows: number,
        cols: number,
        weightFormat: WeightFormat,
      ) => QuantizedTensor | undefined)
    | undefined;
  /** `dequantize` of `@kvant/formats`; undefined for layouts that it does not take. */
  readonly dequantize?: ((tensor: QuantizedTensor) => Float32Array | undefined) | undefined;
  /** The sums of `quantizationError`, over rows and then over the rows' sums; undefined as above. */
  readonly sumErrors?:
    | ((
        original: Float32Array, // [rows, cols]
        tensor: QuantizedTensor,
        restored: Float32Array, // [rows, cols]
      ) => ErrorSums | undefined)
    | undefined;
  /** `values` times, or divided by, a factor per column, or per row. */
  readonly scaleMatrix?:
    | ((matrix: {
        readonly values: Float32Array; // [rows, cols]
        readonly rows: number;
        readonly cols: number;
        readonly factors: Float32Array; // [cols] or [rows]
        readonly byRow: boolean;
        readonly divides: boolean;
      }) => Float32Array)
    | undefined;
  /** Whether no value is NaN or infinite. */
  readonly allFinite?: ((values: Float32Array) => boolean) | undefined;
  /** Counts of two arrays over `bins` equal bins from -reach to reach, the largest magnitude of both. */
  readonly countValues?:
    | ((
        before: Float32Array,
        after: Float32Array,
        bins: number,
      ) => { readonly reach: number; readonly before: Float64Array; readonly after: Float64Array })
    | undefined;
}

let current: Acceleration = {};

/**
 * Hands over the work that an acceleration takes, from now on and in the whole process; `{}` takes it back. It is no argument
 * of the methods because no result depends on it: whoever gives one answers for the bits.
 */
export function accelerate(acceleration: Acceleration): void {
  current = acceleration;
}

/** What was given last. */
export function acceleration(): Acceleration {
  return current;
}
