import type { WeightFormat } from "@kvant/formats";
import { matrixName, type QuantizeMethod, type QuantizeOptions } from "./method.ts";
import { nearestCodes } from "./nearest-codes.ts";
import { requireFinite } from "./require-finite.ts";

/**
 * Scales that map the largest magnitude of each group onto the largest code: nothing is clipped, and one outlier costs all
 * its neighbours resolution. Affine formats map the group's range, zero included, onto all codes.
 */
export const absmax = {
  name: "absmax",
  options: [],
  quantize(
    values: Float32Array,
    rows: number,
    cols: number,
    weightFormat: WeightFormat,
    options: QuantizeOptions = {},
  ) {
    requireFinite(values, matrixName(absmax, options));
    return nearestCodes(values, rows, cols, weightFormat);
  },
} as const satisfies QuantizeMethod;
