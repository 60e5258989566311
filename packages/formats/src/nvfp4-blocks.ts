import { KvantError } from "@kvant/core";
import { e2m1 } from "./e2m1.ts";
import { e4m3 } from "./e4m3.ts";
import { blockScaleValue, largestMagnitude, nvfp4Scale, nvfp4TensorScale } from "./scale-of-range.ts";

/** Values that share one E4M3 scale in NVFP4. */
export const nvfp4BlockSize = 16;

/** Values in NVFP4: E2M1 codes, an E4M3 scale per 16 neighbours, and one float32 scale for the tensor. */
export interface Nvfp4Blocks {
  /** [values], one code per byte. */
  readonly codes: Uint8Array;
  /** [ceil(values / 16)] E4M3 codes. A value is `e2m1 * blockScale * tensorScale`. */
  readonly blockScales: Uint8Array;
  readonly tensorScale: number;
}

/**
 * Quantizes neighbours in blocks of 16, the last one possibly shorter. The tensor scale `absmax / (448 * 6)` maps the
 * largest block scale onto E4M3's largest value; a block's scale is `e4m3(blockAbsmax / 6 / tensorScale)`, and elements are
 * divided by the scale as rounded, so that its rounding error is not added to theirs. Where a scale is 0, so are the codes.
 */
export function quantizeNvfp4(values: Float32Array): Nvfp4Blocks {
  const tensorScale = nvfp4TensorScale(largestMagnitude(values, 0, values.length));
  const blockScales = new Uint8Array(Math.ceil(values.length / nvfp4BlockSize));
  const quotients = new Float32Array(values.length);
  for (let block = 0; block < blockScales.length && tensorScale > 0; block++) {
    const start = block * nvfp4BlockSize;
    const end = Math.min(start + nvfp4BlockSize, values.length);
    blockScales[block] = nvfp4Scale(largestMagnitude(values, start, end), tensorScale);
    const scale = blockScaleValue("e4m3", blockScales[block]!, tensorScale);
    if (scale === 0) continue;
    for (let i = start; i < end; i++) quotients[i] = values[i]! / scale;
  }
  const codes = new Uint8Array(values.length);
  e2m1.encodeInto(quotients, codes);
  return { codes, blockScales, tensorScale };
}

/**
 * The values of NVFP4 blocks: `fround(e2m1 * fround(blockScale * tensorScale))`.
 * @throws KvantError INVALID_ARGUMENT if there is not one scale per block
 */
export function dequantizeNvfp4({ codes, blockScales, tensorScale }: Nvfp4Blocks): Float32Array {
  if (blockScales.length !== Math.ceil(codes.length / nvfp4BlockSize)) {
    throw new KvantError(
      "INVALID_ARGUMENT",
      `${blockScales.length} scales do not match ${codes.length} codes in blocks of ${nvfp4BlockSize}`,
    );
  }
  const scales = new Float32Array(blockScales.length);
  e4m3.decodeInto(blockScales, scales);
  const values = new Float32Array(codes.length);
  e2m1.decodeInto(codes, values);
  return values.map((value, i) => value * Math.fround(scales[Math.floor(i / nvfp4BlockSize)]! * tensorScale));
}
