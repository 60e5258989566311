import { KvantError } from "@kvant/core";
import { encodeE8m0, formats, type Granularity, groupsPerRow, type QuantizedTensor } from "@kvant/formats";
import { type Tensor, toFloat32 } from "../tensor.ts";

/** The shape of `weight_scale` (`initialize_qparams` in src/compressed_tensors/quantization/lifecycle/initialize.py). */
export function scaleShape(granularity: Granularity, rows: number, cols: number): readonly number[] {
  switch (granularity.kind) {
    case "tensor":
      return [1];
    case "channel":
      return [rows, 1];
    case "group":
      return [rows, groupsPerRow(granularity.size, cols)];
    case "tile":
      return [groupsPerRow(granularity.rows, rows), groupsPerRow(granularity.cols, cols)];
    default:
      return granularity satisfies never;
  }
}

/** A tensor of float32 numbers. */
export function float32Tensor(values: Float32Array, shape: readonly number[]): Tensor {
  return { dtype: "F32", shape, data: bytesOf(values) };
}

/** The memory of a typed array. */
export function bytesOf(values: Float32Array | Uint32Array | Int8Array | BigInt64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** The E8M0 codes of scales that are powers of two. @throws KvantError INVALID_ARGUMENT for others */
export function e8m0Codes(name: string, scales: Float32Array): Uint8Array {
  return Uint8Array.from(scales, (scale) => {
    const code = encodeE8m0(scale);
    if (scale === 2 ** (code - 127)) return code;
    throw new KvantError("INVALID_ARGUMENT", `"${name}" has an MX scale of ${scale}, which is no power of two`);
  });
}

/**
 * The E4M3 codes of NVFP4 scales, which are products with the tensor scale.
 * @throws KvantError INVALID_ARGUMENT for scales that are none
 */
export function e4m3Codes(name: string, scales: Float32Array, tensorScale: number): Uint8Array {
  const { e4m3 } = formats;
  return Uint8Array.from(scales, (scale) => {
    const code = scale === 0 ? 0 : e4m3.encode(scale / tensorScale);
    if (scale === Math.fround(e4m3.decode(code) * tensorScale)) return code;
    throw new KvantError(
      "INVALID_ARGUMENT",
      `"${name}" has an NVFP4 scale of ${scale}, which is no E4M3 number times its tensor scale ${tensorScale}`,
    );
  });
}

/**
 * `weight_global_scale` of NVFP4. The dialect divides by it, so it is the reciprocal of the tensor scale, rounded to
 * float32; a tensor of zeros, whose tensor scale is 0, has 1.
 */
export function globalScale(tensorScale: number): number {
  return tensorScale === 0 ? 1 : Math.fround(1 / tensorScale);
}

/** The tensor scale that a reader gets from `weight_global_scale`: `fround(1 / global)`, as vLLM computes it. */
export function tensorScaleOf(global: number): number {
  return Math.fround(1 / global);
}

/**
 * The tensor as the dialect can hold it. Every tensor that `packQuantized` takes is held exactly but for one case: a float32
 * reciprocal does not come back from every NVFP4 tensor scale. Such a tensor gets the nearest tensor scale that does come
 * back, one unit in the last place away, and keeps its codes and the E4M3 codes of its scales.
 */
export function storableTensor(tensor: QuantizedTensor): QuantizedTensor {
  const { tensorScale, scales, weightFormat } = tensor;
  if (weightFormat.scaleFormat !== "e4m3" || !tensorScale) return tensor;
  const storable = tensorScaleOf(globalScale(tensorScale));
  if (storable === tensorScale) return tensor;
  const codes = e4m3Codes("the tensor", scales, tensorScale);
  const { e4m3 } = formats;
  return { ...tensor, tensorScale: storable, scales: Float32Array.from(codes, (code) => e4m3.decode(code) * storable) };
}

/**
 * The numbers of a scale tensor.
 * @throws KvantError TENSOR_SHAPE for other dtypes than floats, CHECKPOINT_INVALID for numbers that are no scales
 */
export function readScales(name: string, tensor: Tensor): Float32Array {
  const scales = toFloat32(tensor, `tensor "${name}"`);
  const wrong = scales.find((scale) => !(scale >= 0 && scale < Infinity));
  if (wrong === undefined) return scales;
  throw new KvantError("CHECKPOINT_INVALID", `tensor "${name}" holds ${wrong}, which is no scale`, { field: name });
}
