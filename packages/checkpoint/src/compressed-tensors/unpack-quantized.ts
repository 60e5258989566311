import { KvantError } from "@kvant/core";
import { blockScaleValue, codeRowBytes, decodeE8m0, formats, type QuantizedTensor, storeCodeRow } from "@kvant/formats";
import type { Checkpoint } from "../checkpoint.ts";
import { type Dtype, type Tensor, toInt32 } from "../tensor.ts";
import { packedWords, paddedWords, unpackPaddedWords, unpackWords } from "./bit-packing.ts";
import type { ModuleScheme } from "./module-scheme.ts";
import { readScales, scaleShape, tensorScaleOf } from "./scale-layout.ts";

/** Where tensors come from: an open checkpoint. */
export type TensorSource = Pick<Checkpoint, "tensors" | "read">;

/**
 * Reads the quantized weight of a module: what `packQuantized` and its peers have written. Integers of 3 bits are read in
 * both packings that the dialect has had: the number of words tells them apart, and where it does not, which takes rows of
 * fewer than 160 values, they are read as the newer one.
 * @throws KvantError TENSOR_MISSING, TENSOR_SHAPE, CHECKPOINT_INVALID naming the tensor; QUANTIZATION_UNSUPPORTED
 */
export function unpackQuantized(module: string, scheme: ModuleScheme, source: TensorSource): QuantizedTensor {
  const index = `${module}.weight_g_idx`;
  if (source.tensors.has(index)) {
    throw new KvantError(
      "QUANTIZATION_UNSUPPORTED",
      `tensor "${index}" reorders columns (actorder group), which is not read`,
    );
  }
  switch (scheme.compression) {
    case "pack-quantized":
      return packedIntegers(module, scheme, source);
    case "int-quantized":
    case "float-quantized":
    case "naive-quantized":
    case "mxfp8-quantized":
      return wholeCodes(module, scheme, source);
    case "mxfp4-pack-quantized":
    case "nvfp4-pack-quantized":
      return packedFloats(module, scheme, source);
    default:
      return scheme.compression satisfies never;
  }
}

function packedIntegers(module: string, { weightFormat }: ModuleScheme, source: TensorSource): QuantizedTensor {
  const shapeName = `${module}.weight_shape`;
  const [rows = -1, cols = -1, ...rest] = toInt32(source.read(shapeName), `tensor "${shapeName}"`);
  if (rows < 0 || cols < 0 || rest.length > 0) {
    throw new KvantError("CHECKPOINT_INVALID", `tensor "${shapeName}" does not hold two sizes`, { field: shapeName });
  }
  const format = formats[weightFormat.format];
  const name = `${module}.weight_packed`;
  const packed = readPart(source, name, ["I32"]);
  const rowWords = packed.shape[1] ?? 0;
  const isPadded = format.bits === 3 && rowWords !== packedWords(cols, 3) && rowWords === paddedWords(cols);
  checkShape(name, packed, [rows, isPadded ? rowWords : packedWords(cols, format.bits)]);
  const words = wordsOf(packed);
  const codes = new Uint8Array(rows * codeRowBytes(format, cols));
  const rowCodes = new Uint8Array(cols);
  const low = 2 ** (format.bits - 1);
  for (let row = 0; row < rows; row++) {
    const rowOfWords = words.subarray(row * rowWords, (row + 1) * rowWords);
    if (isPadded) unpackPaddedWords(rowOfWords, rowCodes);
    else unpackWords(rowOfWords, format.bits, rowCodes);
    for (let col = 0; col < cols; col++) rowCodes[col] = rowCodes[col]! ^ low;
    storeCodeRow(format, rowCodes, codes, row);
  }
  const zeroPoints = readZeroPoints(module, weightFormat, rows, cols, source);
  return { weightFormat, rows, cols, codes, scales: floatScales(module, weightFormat, rows, cols, source), zeroPoints };
}

function wholeCodes(module: string, { weightFormat }: ModuleScheme, source: TensorSource): QuantizedTensor {
  const format = formats[weightFormat.format];
  const name = `${module}.weight`;
  const weight = readPart(source, name, [format.kind === "integer" ? "I8" : "F8_E4M3"]);
  const [rows, cols] = matrixShape(name, weight);
  const scales =
    weightFormat.scaleFormat === undefined
      ? floatScales(module, weightFormat, rows, cols, source)
      : powersOfTwo(module, weightFormat, rows, cols, source);
  if (format.kind !== "integer") return { weightFormat, rows, cols, codes: weight.data, scales, zeroPoints: undefined };
  const values = new Int8Array(weight.data.buffer, weight.data.byteOffset, weight.data.length);
  const beyond = values.find((value) => value > format.max || value < -format.max - 1);
  if (beyond !== undefined) {
    throw new KvantError("CHECKPOINT_INVALID", `tensor "${name}" holds ${beyond}, which is no code of ${format.name}`, {
      field: name,
    });
  }
  const codes = new Uint8Array(rows * codeRowBytes(format, cols));
  const rowCodes = new Uint8Array(cols);
  for (let row = 0; row < rows; row++) {
    rowCodes.set(weight.data.subarray(row * cols, (row + 1) * cols));
    storeCodeRow(format, rowCodes, codes, row);
  }
  const zeroPoints = readZeroPoints(module, weightFormat, rows, cols, source);
  return { weightFormat, rows, cols, codes, scales, zeroPoints };
}

function packedFloats(module: string, { weightFormat }: ModuleScheme, source: TensorSource): QuantizedTensor {
  const name = `${module}.weight_packed`;
  const packed = readPart(source, name, ["U8"]);
  const [rows, pairs] = matrixShape(name, packed);
  const cols = 2 * pairs;
  const matrix = { weightFormat, rows, cols, codes: packed.data, zeroPoints: undefined };
  if (weightFormat.scaleFormat === "e8m0") {
    return { ...matrix, scales: powersOfTwo(module, weightFormat, rows, cols, source) };
  }
  const globalName = `${module}.weight_global_scale`;
  const [global = 0, ...rest] = readScales(globalName, source.read(globalName));
  if (!(global > 0) || rest.length > 0) {
    throw new KvantError("CHECKPOINT_INVALID", `tensor "${globalName}" does not hold one positive number`, {
      field: globalName,
    });
  }
  const scaleName = `${module}.weight_scale`;
  const scale = readPart(source, scaleName, ["F8_E4M3"]);
  checkScaleShape(scaleName, scale, weightFormat, rows, cols);
  readScales(scaleName, scale);
  const tensorScale = scale.data.every((code) => code === 0) ? 0 : tensorScaleOf(global);
  const scales = Float32Array.from(scale.data, (code) => blockScaleValue("e4m3", code, tensorScale));
  return { ...matrix, scales, tensorScale };
}

type WeightFormat = ModuleScheme["weightFormat"];

function floatScales(module: string, weightFormat: WeightFormat, rows: number, cols: number, source: TensorSource) {
  const name = `${module}.weight_scale`;
  const scale = readPart(source, name, ["F32", "BF16", "F16"]);
  checkScaleShape(name, scale, weightFormat, rows, cols);
  return readScales(name, scale);
}

function powersOfTwo(module: string, weightFormat: WeightFormat, rows: number, cols: number, source: TensorSource) {
  const name = `${module}.weight_scale`;
  const scale = readPart(source, name, ["U8", "F8_E8M0"]);
  checkScaleShape(name, scale, weightFormat, rows, cols);
  const scales = Float32Array.from(scale.data, decodeE8m0);
  if (!scales.some(Number.isNaN)) return scales;
  throw new KvantError("CHECKPOINT_INVALID", `tensor "${name}" holds NaN, which is no scale`, { field: name });
}

/** Zero points of affine formats. Older writers give symmetric weights some too, which must be 0. */
function readZeroPoints(
  module: string,
  weightFormat: WeightFormat,
  rows: number,
  cols: number,
  source: TensorSource,
): Int8Array | undefined {
  const name = `${module}.weight_zero_point`;
  if (!weightFormat.affine && !source.tensors.has(name)) return undefined;
  const tensor = readPart(source, name, ["I8", "I32"]);
  if (!weightFormat.affine) {
    if (tensor.data.every((byte) => byte === 0)) return undefined;
    throw new KvantError("CHECKPOINT_INVALID", `tensor "${name}" gives zero points to a symmetric weight`, {
      field: name,
    });
  }
  const { bits, max, name: formatName } = formats[weightFormat.format];
  const zeroPoints =
    tensor.dtype === "I8"
      ? wholeZeroPoints(name, tensor, weightFormat, rows, cols)
      : columnsOf(name, tensor, bits, scaleShape(weightFormat.granularity!, rows, cols));
  const beyond = zeroPoints.find((zeroPoint) => zeroPoint > max || zeroPoint < -max - 1);
  if (beyond === undefined) return zeroPoints;
  throw new KvantError("CHECKPOINT_INVALID", `tensor "${name}" holds ${beyond}, which is no code of ${formatName}`, {
    field: name,
  });
}

function wholeZeroPoints(name: string, tensor: Tensor, weightFormat: WeightFormat, rows: number, cols: number) {
  checkScaleShape(name, tensor, weightFormat, rows, cols);
  return new Int8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.length);
}

/** Zero points [rows, groups] from words packed down the columns. */
function columnsOf(name: string, tensor: Tensor, bits: number, [rows, groups]: readonly number[]): Int8Array {
  if (rows === undefined || groups === undefined) {
    throw new KvantError("TENSOR_SHAPE", `tensor "${name}" packs the one zero point of a tensor`, { field: name });
  }
  const columnWords = tensor.shape[0] ?? 0;
  const isPadded = bits === 3 && columnWords !== packedWords(rows, 3) && columnWords === paddedWords(rows);
  checkShape(name, tensor, [isPadded ? columnWords : packedWords(rows, bits), groups]);
  const words = wordsOf(tensor);
  const zeroPoints = new Int8Array(rows * groups);
  const column = new Uint32Array(columnWords);
  const values = new Uint8Array(rows);
  for (let group = 0; group < groups; group++) {
    for (let at = 0; at < columnWords; at++) column[at] = words[at * groups + group]!;
    if (isPadded) unpackPaddedWords(column, values);
    else unpackWords(column, bits, values);
    for (let row = 0; row < rows; row++) zeroPoints[row * groups + group] = values[row]! - 2 ** (bits - 1);
  }
  return zeroPoints;
}

function wordsOf(tensor: Tensor): Uint32Array {
  const signed = toInt32(tensor);
  return new Uint32Array(signed.buffer, signed.byteOffset, signed.length);
}

function readPart(source: TensorSource, name: string, dtypes: readonly Dtype[]): Tensor {
  const tensor = source.read(name);
  if (dtypes.includes(tensor.dtype)) return tensor;
  throw new KvantError(
    "TENSOR_SHAPE",
    `tensor "${name}" has dtype ${tensor.dtype}; its quantization implies ${dtypes.join(", ")}`,
    { field: name },
  );
}

function matrixShape(name: string, { shape }: Tensor): readonly [number, number] {
  if (shape.length === 2) return [shape[0]!, shape[1]!];
  throw new KvantError("TENSOR_SHAPE", `tensor "${name}" of shape [${shape.join(", ")}] is no matrix`, { field: name });
}

function checkShape(name: string, { shape }: Tensor, expected: readonly number[]): void {
  if (shape.length === expected.length && expected.every((size, axis) => shape[axis] === size)) return;
  throw new KvantError(
    "TENSOR_SHAPE",
    `tensor "${name}" has shape [${shape.join(", ")}]; its quantization implies [${expected.join(", ")}]`,
    { field: name },
  );
}

/** Checks sizes other than 1: writers differ in whether they keep axes of 1. */
function checkScaleShape(
  name: string,
  tensor: Tensor,
  { granularity }: WeightFormat,
  rows: number,
  cols: number,
): void {
  const expected = scaleShape(granularity!, rows, cols);
  const real = (shape: readonly number[]) => shape.filter((size) => size !== 1).join();
  if (real(tensor.shape) !== real(expected)) checkShape(name, tensor, expected);
}
