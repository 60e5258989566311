import type { QuantizedTensor, WeightFormat } from "@kvant/formats";
import type { Product } from "./linear-algebra/add-product.ts";

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
