import { quantizeAbsMax } from "@kvant/formats";
import type { QuantizeMethod } from "./method.ts";

/**
 * Scales that map the largest magnitude of each group onto the largest code: nothing is clipped, and one outlier costs all
 * its neighbours resolution. Affine formats map the group's range, zero included, onto all codes.
 */
export const absmax = {
  name: "absmax",
  quantize: quantizeAbsMax,
} as const satisfies QuantizeMethod;
