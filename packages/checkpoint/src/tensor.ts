import { KvantError } from "@kvant/core";
import { decodeArray, type FormatName } from "@kvant/formats";

/** Bytes of one element, by the name that safetensors files use. */
export const dtypeBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;
export type Dtype = keyof typeof dtypeBytes;

/** What a checkpoint says about a tensor, without its data. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Bytes of the data: the product of the shape times the bytes of an element. */
  readonly bytes: number;
}

/** A tensor's data: row-major, little-endian, in a buffer of its own. */
export interface Tensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

const floatFormats: Partial<Record<Dtype, FormatName>> = {
  F32: "fp32",
  F16: "fp16",
  BF16: "bf16",
  F8_E4M3: "e4m3",
  F8_E5M2: "e5m2",
};

/**
 * The values of a floating-point tensor; exact for every dtype but F64, which is rounded.
 * @throws KvantError TENSOR_SHAPE if the dtype is not a floating-point one; `name` says which tensor in the sentence
 */
export function toFloat32(tensor: Tensor, name = "the tensor"): Float32Array {
  const { dtype } = tensor;
  if (dtype === "F32") return view(tensor, Float32Array);
  if (dtype === "F64") return Float32Array.from(view(tensor, Float64Array));
  const format = floatFormats[dtype];
  if (format === undefined) {
    throw new KvantError("TENSOR_SHAPE", `${name} has dtype ${dtype}, which is not a floating-point format`);
  }
  return decodeArray(format, dtypeBytes[dtype] === 2 ? view(tensor, Uint16Array) : tensor.data);
}

/**
 * The values of an integer tensor.
 * @throws KvantError TENSOR_SHAPE if the dtype is not an integer one or a value does not fit 32 bits
 */
export function toInt32(tensor: Tensor, name = "the tensor"): Int32Array {
  switch (tensor.dtype) {
    case "I32":
      return view(tensor, Int32Array);
    case "I64": {
      const wide = view(tensor, BigInt64Array);
      const values = Int32Array.from(wide, Number);
      const unfit = wide.findIndex((value, i) => BigInt(values[i]!) !== value);
      if (unfit === -1) return values;
      throw new KvantError("TENSOR_SHAPE", `${name} holds ${wide[unfit]} at index ${unfit}, beyond 32 bits`);
    }
    case "U8":
    case "BOOL":
      return Int32Array.from(tensor.data);
    case "I8":
      return Int32Array.from(view(tensor, Int8Array));
    case "U16":
      return Int32Array.from(view(tensor, Uint16Array));
    case "I16":
      return Int32Array.from(view(tensor, Int16Array));
    default:
      throw new KvantError("TENSOR_SHAPE", `${name} has dtype ${tensor.dtype}, which is not read as 32-bit integers`);
  }
}

/** The data as another typed array: shared where the alignment allows, copied where it does not. */
function view<T>(
  { data }: Tensor,
  Elements: { new (buffer: ArrayBufferLike, offset: number, length: number): T; BYTES_PER_ELEMENT: number },
): T {
  const width = Elements.BYTES_PER_ELEMENT;
  const aligned = data.byteOffset % width === 0 ? data : data.slice();
  return new Elements(aligned.buffer, aligned.byteOffset, aligned.byteLength / width);
}
