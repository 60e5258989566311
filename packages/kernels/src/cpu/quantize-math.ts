import { KvantError } from "@kvant/core";
import {
  codeRowBytes,
  formats,
  type Granularity,
  type QuantizedTensor,
  scaleCount,
  type WeightFormat,
} from "@kvant/formats";
import { type CpuBackendOptions, resolveCpuOptions } from "./cpu-backend.ts";
import { loadAddon } from "./load-addon.ts";
import type { NativeAddon, NativeProduct, NativeQuantizeMath, NativeScaledMatrix } from "./native-addon.ts";
import { callNative } from "./native-error.ts";

/** What quantizing a model spends its time on, in native code: the same bits as the TypeScript, sooner. */
export interface QuantizeMath {
  readonly tier: string;
  readonly threads: number;
  /**
   * `target += sign * left . right` in float64: `addProduct` of `@kvant/quantizers`.
   * @throws KvantError INVALID_ARGUMENT if a view reaches beyond its array
   */
  addProduct(product: NativeProduct): void;
  /**
   * `quantizeAbsMax` of `@kvant/formats`; undefined for formats without a native pass: those with zero points or scales of
   * 8 bits, and scales per column or tile.
   * @throws KvantError INVALID_ARGUMENT if the shape does not match the values
   */
  quantizeAbsMax(
    values: Float32Array, // [rows, cols]
    rows: number,
    cols: number,
    weightFormat: WeightFormat,
  ): QuantizedTensor | undefined;
  /** `dequantize` of `@kvant/formats`; undefined for scales per column or tile. */
  dequantize(tensor: QuantizedTensor): Float32Array | undefined;
  /**
   * Sums of squares of a matrix and of its error against `restored`, the dequantized tensor: those of `quantizationError` of
   * `@kvant/quantizers`; undefined for scales per column or tile.
   */
  sumErrors(
    original: Float32Array, // [rows, cols]
    tensor: QuantizedTensor,
    restored: Float32Array, // [rows, cols]
  ): ReturnType<NativeQuantizeMath["sumErrors"]> | undefined;
  /** Counts of two arrays over `bins` equal bins, from minus to plus the largest magnitude of both. */
  countValues: NativeQuantizeMath["countValues"];
  /** `values` times, or divided by, a factor per column, or per row: `scaleColumns` of `@kvant/quantizers` and its neighbours. */
  scaleMatrix(matrix: Omit<Parameters<NativeQuantizeMath["scaleMatrix"]>[0], "out">): Float32Array;
  /** Whether no value is NaN or infinite. */
  allFinite(values: Float32Array): boolean;
}

/** Native quantization, or why there is none. */
export type QuantizeMathPresence =
  | { readonly math: QuantizeMath; readonly reason: undefined }
  | { readonly math: undefined; readonly reason: string };

/**
 * Threads of their own for quantization; they end when the object is collected.
 * @throws KvantError BACKEND_UNAVAILABLE for a tier that this machine or build lacks, INVALID_ARGUMENT
 */
export function nativeQuantizeMath(options: CpuBackendOptions = {}): QuantizeMathPresence {
  let addon: NativeAddon;
  try {
    addon = loadAddon();
  } catch (error) {
    if (error instanceof KvantError) return { math: undefined, reason: error.message };
    throw error;
  }
  const { createQuantizeMath } = addon;
  if (createQuantizeMath === undefined) {
    return { math: undefined, reason: "this native addon was built before it could quantize: build it anew" };
  }
  const { threads, tier } = resolveCpuOptions(addon, options);
  const native = callNative(() => createQuantizeMath({ threads, tier }));
  return {
    math: {
      tier,
      threads,
      addProduct: (product) => callNative(() => native.addProduct(product)),
      quantizeAbsMax: (values, rows, cols, weightFormat) => {
        const { granularity } = weightFormat;
        const groupSize = granularity === undefined ? undefined : nativeGroupSize(granularity);
        if (granularity === undefined || groupSize === undefined) return undefined;
        if (weightFormat.affine || weightFormat.scaleFormat !== undefined) return undefined;
        checkShape(values, rows, cols);
        const codes = new Uint8Array(rows * codeRowBytes(formats[weightFormat.format], cols));
        const scales = new Float32Array(scaleCount(granularity, [rows, cols]));
        const format = weightFormat.format;
        callNative(() => native.quantizeAbsMax({ values, rows, cols, format, groupSize, codes, scales }));
        return { weightFormat, rows, cols, codes, scales, zeroPoints: undefined };
      },
      dequantize: (tensor) => {
        const scaled = scaledMatrix(tensor);
        if (scaled === undefined) return undefined;
        const { rows, cols, codes, weightFormat } = tensor;
        const values = new Float32Array(rows * cols);
        const { table, storedBits } = codeTable(weightFormat.format);
        callNative(() => native.dequantize({ ...scaled, codes, storedBits, table, values }));
        return values;
      },
      sumErrors: (original, tensor, restored) => {
        const scaled = scaledMatrix(tensor);
        if (scaled === undefined) return undefined;
        const { kind, max } = formats[tensor.weightFormat.format];
        const halfStep = kind === "integer" ? 0.5 : 0;
        return callNative(() => native.sumErrors({ ...scaled, original, restored, max, halfStep }));
      },
      scaleMatrix: (matrix) => {
        const out = new Float32Array(matrix.values.length);
        callNative(() => native.scaleMatrix({ ...matrix, out }));
        return out;
      },
      allFinite: (values) => callNative(() => native.allFinite(values)),
      countValues: (before, after, bins) => callNative(() => native.countValues(before, after, bins)),
    },
    reason: undefined,
  };
}

function scaledMatrix({
  weightFormat,
  rows,
  cols,
  scales,
  zeroPoints,
}: QuantizedTensor): NativeScaledMatrix | undefined {
  const { granularity } = weightFormat;
  const groupSize = granularity === undefined ? undefined : nativeGroupSize(granularity);
  if (groupSize === undefined) return undefined;
  return { rows, cols, groupSize, scales, zeros: zeroPoints ?? new Int8Array() };
}

/** The number that each code stands for as it lies in a tensor, and the bits that it takes there. */
function codeTable(name: WeightFormat["format"]): { readonly table: Float32Array; readonly storedBits: 8 | 4 } {
  const { bits, decode } = formats[name];
  return {
    table: Float32Array.from({ length: 256 }, (_, code) => (code < 2 ** Math.max(4, bits) ? decode(code) : 0)),
    storedBits: bits <= 4 ? 4 : 8,
  };
}

/** As the addon counts it; undefined for scales that do not lie along rows. */
export function nativeGroupSize(granularity: Granularity): number | undefined {
  switch (granularity.kind) {
    case "tensor":
      return -2;
    case "channel":
      return granularity.axis === 0 ? -1 : undefined;
    case "group":
      return granularity.size;
    case "tile":
      return undefined;
    default:
      return granularity satisfies never;
  }
}

function checkShape(values: Float32Array, rows: number, cols: number): void {
  const isShape = Number.isSafeInteger(rows) && Number.isSafeInteger(cols) && rows >= 0 && cols >= 0;
  if (isShape && values.length === rows * cols) return;
  throw new KvantError("INVALID_ARGUMENT", `${values.length} values do not fill a matrix [${rows}, ${cols}]`);
}
