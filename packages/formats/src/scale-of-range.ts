import { KvantError } from "@kvant/core";
import { e2m1 } from "./e2m1.ts";
import { e4m3 } from "./e4m3.ts";
import { decodeE8m0, encodeE8m0 } from "./e8m0.ts";
import type { Format } from "./format.ts";
import { fp32 } from "./fp32.ts";
import { roundHalfEven } from "./round-half-even.ts";

/**
 * The largest magnitude of `values[start, end)`, as scales count it: NaN is ignored, infinity is the largest float32, and
 * none at all is 0.
 */
export function largestMagnitude(values: Float32Array, start: number, end: number): number {
  let largest = 0;
  for (let i = start; i < end; i++) {
    const magnitude = Math.abs(values[i]!);
    if (magnitude > largest) largest = magnitude;
  }
  return Math.min(largest, fp32.max);
}

/** The symmetric scale under which codes reach `largest`: `fround(largest / max)`, 0 where the quotient underflows. */
export function symmetricScale(format: Format, largest: number): number {
  return Math.fround(Math.min(largest, fp32.max) / format.max);
}

/**
 * The affine scale and zero point under which codes reach from `smallest` (at most 0) to `largest` (at least 0). In float32,
 * with codes from `low` = -2^(bits-1) to `high`:
 *
 *     scale     = largest / (high - low) - smallest / (high - low)
 *     zeroPoint = clamp(round(low - smallest / scale), low, high)            0 where the scale is
 *
 * @throws KvantError INVALID_ARGUMENT if the range does not contain zero, which would then have no code, or the format is
 * not an integer one
 */
export function affineScale(
  format: Format,
  smallest: number,
  largest: number,
): { readonly scale: number; readonly zeroPoint: number } {
  if (format.kind !== "integer") throw new KvantError("INVALID_ARGUMENT", `${format.name} has no zero points`);
  if (!(smallest <= 0 && largest >= 0)) {
    throw new KvantError("INVALID_ARGUMENT", `an affine range contains zero; ${smallest} to ${largest} does not`);
  }
  const high = format.max;
  const low = -high - 1;
  const steps = high - low;
  const bottom = Math.max(smallest, -fp32.max);
  // The two quotients are taken apart: the range of a float32 group may itself exceed float32.
  const scale = Math.fround(Math.fround(Math.min(largest, fp32.max) / steps) - Math.fround(bottom / steps));
  if (scale === 0) return { scale, zeroPoint: 0 };
  const zeroPoint = roundHalfEven(low - Math.fround(bottom / scale));
  return { scale, zeroPoint: Math.max(low, Math.min(high, zeroPoint)) };
}

/**
 * The E8M0 code of the scale of an MX block (OCP Microscaling Formats, conversion from a vector of floats):
 * `2^(floor(log2(largest)) - floor(log2(element max)))`. The largest values of a block may saturate.
 */
export function mxScale(element: Format, largest: number): number {
  const largestElementExponent = Math.floor(Math.log2(element.max));
  return Math.max(0, encodeE8m0(Math.min(largest, fp32.max)) - largestElementExponent);
}

/** The tensor scale of NVFP4, `largest / (448 * 6)` in two float32 divisions: it maps the largest scale onto 448. */
export function nvfp4TensorScale(largest: number): number {
  return Math.fround(symmetricScale(e2m1, largest) / e4m3.max);
}

/** The E4M3 code of the scale of an NVFP4 block: `e4m3(largest / 6 / tensorScale)`; 0 under a tensor scale of 0. */
export function nvfp4Scale(largest: number, tensorScale: number): number {
  return tensorScale === 0 ? 0 : e4m3.encode(symmetricScale(e2m1, largest) / tensorScale);
}

/** What a scale's code stands for: a power of two in MX formats, `fround(e4m3 * tensorScale)` in NVFP4. */
export function blockScaleValue(scaleFormat: "e8m0" | "e4m3", code: number, tensorScale: number): number {
  return scaleFormat === "e8m0" ? decodeE8m0(code) : Math.fround(e4m3.decode(code) * tensorScale);
}
