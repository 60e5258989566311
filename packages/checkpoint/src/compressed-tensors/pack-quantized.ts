import { KvantError } from "@kvant/core";
import { formats, loadCodeRow, type QuantizedTensor, weightFormatName } from "@kvant/formats";
import type { Tensor } from "../tensor.ts";
import { packedWords, packWords } from "./bit-packing.ts";
import type { CompressionFormat } from "./module-scheme.ts";
import {
  bytesOf,
  e4m3Codes,
  e8m0Codes,
  float32Tensor,
  globalScale,
  scaleShape,
  tensorScaleOf,
} from "./scale-layout.ts";
import { compressionFormat } from "./weight-arguments.ts";

/**
 * The tensors that hold a quantized weight in a checkpoint, by name: `<module>.weight` or `<module>.weight_packed` with its
 * scales. Scales are F32, whatever the model's dtype: the dialect leaves their dtype to the writer, its readers multiply in
 * the dtype they find, and so codes and scales come back to the bit. (vLLM rounds the scales of packed integers to the
 * model's dtype as it loads them.) A last group of a row may be shorter; readers other than Kvant want groups that divide it.
 *
 *     weight_packed        I32 [rows, ceil(cols * bits / 32)], codes plus 2^(bits-1); U8 [rows, cols / 2] in FP4, low nibble first
 *     weight               I8 or F8_E4M3 [rows, cols]
 *     weight_shape         I64 [2], beside I32 weight_packed
 *     weight_scale         F32 [1], [rows, 1], [rows, groups] or [tile rows, tile cols]; U8 in MX formats, F8_E4M3 in NVFP4
 *     weight_zero_point    I8, shaped as the scales; packed integers per channel or group: I32 [ceil(rows * bits / 32), groups],
 *                          packed down each column. As in the dialect, they are signed like the codes.
 *     weight_global_scale  F32 [1], NVFP4 only: the reciprocal of the tensor scale
 *
 * `compression` may be given where activations are quantized: `compressionFormat(weightFormat, activations)`.
 * @throws KvantError QUANTIZATION_UNSUPPORTED for formats that the dialect cannot hold, and FP4 of an odd number of columns;
 * INVALID_ARGUMENT for scales that are none of the format, and NVFP4 tensor scales that `storableTensor` would move
 */
export function packQuantized(
  module: string,
  tensor: QuantizedTensor,
  compression: CompressionFormat = compressionFormat(tensor.weightFormat, undefined),
): ReadonlyMap<string, Tensor> {
  const { weightFormat, rows, cols, scales } = tensor;
  const natural = compressionFormat(weightFormat, undefined);
  const fits =
    compression === natural ||
    compression === (natural === "pack-quantized" ? "int-quantized" : natural) ||
    (compression === "naive-quantized" && (natural === "pack-quantized" || natural === "float-quantized"));
  if (!fits) {
    const name = weightFormatName(weightFormat);
    throw new KvantError("QUANTIZATION_UNSUPPORTED", `format ${compression} cannot hold ${name}; ${natural} can`);
  }
  const shape = scaleShape(weightFormat.granularity!, rows, cols);
  const parts = partsOf(module, tensor, compression, shape);
  const scale = parts.weight_scale ?? float32Tensor(scales, shape);
  return new Map(
    Object.entries({ ...parts, weight_scale: scale }).map(([part, each]) => [`${module}.${part}`, each] as const),
  );
}

function partsOf(
  module: string,
  tensor: QuantizedTensor,
  compression: CompressionFormat,
  shape: readonly number[],
): Record<string, Tensor> {
  const { weightFormat, rows, cols, codes, scales } = tensor;
  switch (compression) {
    case "pack-quantized":
      return { ...packedIntegers(tensor), ...packedZeroPoints(tensor, shape) };
    case "int-quantized":
    case "naive-quantized":
      if (weightFormat.format === "e4m3") return { weight: { dtype: "F8_E4M3", shape: [rows, cols], data: codes } };
      return { ...wholeIntegers(tensor), ...zeroPointTensor(tensor, shape) };
    case "float-quantized":
      return { weight: { dtype: "F8_E4M3", shape: [rows, cols], data: codes } };
    case "mxfp8-quantized":
      return {
        weight: { dtype: "F8_E4M3", shape: [rows, cols], data: codes },
        weight_scale: { dtype: "U8", shape, data: e8m0Codes(module, scales) },
      };
    case "mxfp4-pack-quantized":
      return {
        weight_packed: nibbles(module, tensor),
        weight_scale: { dtype: "U8", shape, data: e8m0Codes(module, scales) },
      };
    case "nvfp4-pack-quantized": {
      const packed = nibbles(module, tensor);
      const { tensorScale } = tensor;
      if (tensorScale === undefined) {
        throw new KvantError("INVALID_ARGUMENT", `"${module}" is in NVFP4 and has no tensor scale`);
      }
      const global = globalScale(tensorScale);
      if (tensorScale !== 0 && tensorScaleOf(global) !== tensorScale) {
        throw new KvantError(
          "INVALID_ARGUMENT",
          `the NVFP4 tensor scale ${tensorScale} of "${module}" does not come back from its float32 reciprocal; storableTensor moves it to one that does`,
        );
      }
      return {
        weight_packed: packed,
        weight_scale: { dtype: "F8_E4M3", shape, data: e4m3Codes(module, scales, tensorScale) },
        weight_global_scale: float32Tensor(Float32Array.of(global), [1]),
      };
    }
    default:
      return compression satisfies never;
  }
}

function packedIntegers({ weightFormat, rows, cols, codes }: QuantizedTensor): Record<string, Tensor> {
  const format = formats[weightFormat.format];
  const rowWords = packedWords(cols, format.bits);
  const words = new Uint32Array(rows * rowWords);
  const rowCodes = new Uint8Array(cols);
  const [mask, low] = [2 ** format.bits - 1, 2 ** (format.bits - 1)];
  for (let row = 0; row < rows; row++) {
    loadCodeRow(format, codes, row, rowCodes);
    // In two's complement, adding 2^(bits-1) turns the sign bit.
    for (let col = 0; col < cols; col++) rowCodes[col] = (rowCodes[col]! & mask) ^ low;
    packWords(rowCodes, format.bits, words.subarray(row * rowWords, (row + 1) * rowWords));
  }
  return {
    weight_packed: { dtype: "I32", shape: [rows, rowWords], data: bytesOf(words) },
    weight_shape: { dtype: "I64", shape: [2], data: bytesOf(BigInt64Array.of(BigInt(rows), BigInt(cols))) },
  };
}

/** Zero points packed down the columns of [rows, groups]; one for the whole tensor stays an I8. */
function packedZeroPoints(tensor: QuantizedTensor, shape: readonly number[]): Record<string, Tensor> {
  const { weightFormat, zeroPoints, rows } = tensor;
  if (zeroPoints === undefined || weightFormat.granularity?.kind === "tensor") return zeroPointTensor(tensor, shape);
  const { bits } = formats[weightFormat.format];
  const groups = shape[1]!;
  const columnWords = packedWords(rows, bits);
  const words = new Uint32Array(columnWords * groups);
  const column = new Uint8Array(rows);
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < rows; row++) column[row] = zeroPoints[row * groups + group]! + 2 ** (bits - 1);
    const packed = new Uint32Array(columnWords);
    packWords(column, bits, packed);
    for (let at = 0; at < columnWords; at++) words[at * groups + group] = packed[at]!;
  }
  return { weight_zero_point: { dtype: "I32", shape: [columnWords, groups], data: bytesOf(words) } };
}

function wholeIntegers({ weightFormat, rows, cols, codes }: QuantizedTensor): Record<string, Tensor> {
  const format = formats[weightFormat.format];
  const values = new Int8Array(rows * cols);
  const rowCodes = new Uint8Array(cols);
  for (let row = 0; row < rows; row++) {
    loadCodeRow(format, codes, row, rowCodes);
    for (let col = 0; col < cols; col++) values[row * cols + col] = format.decode(rowCodes[col]!);
  }
  return { weight: { dtype: "I8", shape: [rows, cols], data: bytesOf(values) } };
}

function zeroPointTensor({ zeroPoints }: QuantizedTensor, shape: readonly number[]): Record<string, Tensor> {
  return zeroPoints === undefined ? {} : { weight_zero_point: { dtype: "I8", shape, data: bytesOf(zeroPoints) } };
}

/** Two E2M1 codes per byte lie as they do in memory. */
function nibbles(module: string, { rows, cols, codes }: QuantizedTensor): Tensor {
  if (cols % 2 === 0) return { dtype: "U8", shape: [rows, cols / 2], data: codes };
  throw new KvantError(
    "QUANTIZATION_UNSUPPORTED",
    `"${module}" has ${cols} columns; compressed-tensors holds FP4 in pairs, so their number must be even`,
  );
}
