// A decoder of compressed-tensors written from the text of its Python sources, sharing nothing with the package: words become
// one big integer, floats are computed from their bit fields, and groups are found by division. Slow, for small matrices.
import type { Tensor } from "../src/index.ts";

type Tensors = ReadonlyMap<string, Tensor>;

interface Arguments {
  readonly num_bits: number;
  readonly type: "int" | "float";
  readonly strategy: string;
  readonly symmetric: boolean;
  readonly group_size: number | null;
  readonly block_structure: readonly number[] | null;
}

/** The values [rows][cols] of a module's weight, in float32 arithmetic, from a group of `config_groups`. */
export function decodeWeight(
  module: string,
  group: { readonly format: string; readonly weights: Arguments },
  tensors: Tensors,
): number[][] {
  const { weights, format } = group;
  const get = (part: string) => {
    const tensor = tensors.get(`${module}.${part}`);
    if (tensor === undefined) throw new Error(`no ${part}`);
    return tensor;
  };
  const codes = decodeCodes(format, weights, get);
  const rows = codes.length;
  const scales = decodeScales(format, get);
  const zeros = weights.symmetric ? undefined : decodeZeroPoints(format, weights, rows, get);
  return codes.map((line, row) =>
    line.map((code, col) => {
      const [i, j] = scaleIndex(weights, row, col);
      const value = Math.fround(code - (zeros === undefined ? 0 : zeros[i]![j]!));
      return Math.fround(value * scales[i]![j]!);
    }),
  );
}

function scaleIndex({ strategy, group_size: size, block_structure: sides }: Arguments, row: number, col: number) {
  if (strategy === "tensor") return [0, 0] as const;
  if (strategy === "channel") return [row, 0] as const;
  if (strategy === "block") return [Math.floor(row / sides![0]!), Math.floor(col / sides![1]!)] as const;
  return [row, Math.floor(col / size!)] as const;
}

function decodeCodes(format: string, { num_bits: bits, type }: Arguments, get: (part: string) => Tensor): number[][] {
  if (format === "pack-quantized") {
    const [rows, cols] = shapeNumbers(get("weight_shape"));
    const packed = get("weight_packed");
    expectDtype(packed, "I32", [rows!, Math.ceil((cols! * bits) / 32)]);
    return byRow(packed, rows!).map((bytes) => extract(bytes, bits, cols!).map((code) => code - 2 ** (bits - 1)));
  }
  if (format.endsWith("fp4-pack-quantized")) {
    const packed = get("weight_packed");
    if (packed.dtype !== "U8") throw new Error(`weight_packed is ${packed.dtype}`);
    return byRow(packed, packed.shape[0]!).map((bytes) =>
      extract(bytes, 4, 2 * bytes.length).map((code) => floatOf(code, 2, 1, 1)),
    );
  }
  const weight = get("weight");
  if (type === "int") {
    expectDtype(weight, "I8", weight.shape);
    return byRow(weight, weight.shape[0]!).map((bytes) => [...bytes].map((byte) => (byte > 127 ? byte - 256 : byte)));
  }
  expectDtype(weight, "F8_E4M3", weight.shape);
  return byRow(weight, weight.shape[0]!).map((bytes) => [...bytes].map((byte) => floatOf(byte, 4, 3, 7)));
}

function decodeScales(format: string, get: (part: string) => Tensor): number[][] {
  const scale = get("weight_scale");
  const rows = scale.shape.length === 2 ? scale.shape[0]! : 1;
  const bytes = byRow(scale, rows);
  if (format.startsWith("mxfp")) {
    if (scale.dtype !== "U8") throw new Error(`weight_scale is ${scale.dtype}`);
    return bytes.map((row) => [...row].map((exponent) => 2 ** (exponent - 127)));
  }
  if (format === "nvfp4-pack-quantized") {
    if (scale.dtype !== "F8_E4M3") throw new Error(`weight_scale is ${scale.dtype}`);
    const [global] = extract(get("weight_global_scale").data, 32, 1).map((word) => floatOf(word, 8, 23, 127));
    // vLLM takes the reciprocal first: compressed_tensors_w4a16_nvfp4.py.
    return bytes.map((row) => [...row].map((code) => Math.fround(floatOf(code, 4, 3, 7) * Math.fround(1 / global!))));
  }
  if (scale.dtype !== "F32") throw new Error(`weight_scale is ${scale.dtype}`);
  return bytes.map((row) => extract(row, 32, row.length / 4).map((word) => floatOf(word, 8, 23, 127)));
}

function decodeZeroPoints(
  format: string,
  { num_bits: bits, strategy }: Arguments,
  rows: number,
  get: (part: string) => Tensor,
): number[][] {
  const tensor = get("weight_zero_point");
  if (format === "pack-quantized" && strategy !== "tensor") {
    const groups = tensor.shape[1]!;
    expectDtype(tensor, "I32", [Math.ceil((rows * bits) / 32), groups]);
    const columns = Array.from({ length: groups }, (_, group) => {
      const words = Array.from({ length: tensor.shape[0]! }, (_, word) => 4 * (word * groups + group));
      const bytes = Uint8Array.from(words.flatMap((start) => [...tensor.data.subarray(start, start + 4)]));
      return extract(bytes, bits, rows).map((code) => code - 2 ** (bits - 1));
    });
    return Array.from({ length: rows }, (_, row) => columns.map((column) => column[row]!));
  }
  expectDtype(tensor, "I8", tensor.shape);
  const scaleRows = tensor.shape.length === 2 ? tensor.shape[0]! : 1;
  return byRow(tensor, scaleRows).map((bytes) => [...bytes].map((byte) => (byte > 127 ? byte - 256 : byte)));
}

function expectDtype({ dtype, shape }: Tensor, expected: string, expectedShape: readonly number[]): void {
  if (dtype !== expected || shape.join() !== expectedShape.join()) {
    throw new Error(`${dtype} [${shape}] where ${expected} [${expectedShape}] is written`);
  }
}

function byRow({ data }: Tensor, rows: number): Uint8Array[] {
  const bytes = data.length / rows;
  return Array.from({ length: rows }, (_, row) => data.subarray(row * bytes, (row + 1) * bytes));
}

function shapeNumbers(tensor: Tensor): number[] {
  expectDtype(tensor, "I64", [2]);
  return extract(tensor.data, 64, 2);
}

/** Numbers of `bits` bits from a little-endian stream, by shifting one big integer. */
function extract(bytes: Uint8Array, bits: number, count: number): number[] {
  let stream = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) stream = (stream << 8n) | BigInt(bytes[i]!);
  const width = BigInt(bits);
  return Array.from({ length: count }, (_, i) => Number((stream >> (BigInt(i) * width)) & ((1n << width) - 1n)));
}

/** A finite float from its fields. */
function floatOf(code: number, exponentBits: number, mantissaBits: number, bias: number): number {
  const mantissa = code % 2 ** mantissaBits;
  const exponent = Math.floor(code / 2 ** mantissaBits) % 2 ** exponentBits;
  const sign = Math.floor(code / 2 ** (mantissaBits + exponentBits)) === 1 ? -1 : 1;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}
