import { dequantize, parseWeightFormat, quantizeAbsMax } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { packQuantized, type Tensor, type TensorSource, unpackQuantized } from "../index.ts";
import { packWords, unpackWords } from "./bit-packing.ts";
import type { CompressionFormat, ModuleScheme } from "./module-scheme.ts";

function sourceOf(tensors: ReadonlyMap<string, Tensor>): TensorSource {
  const infos = [...tensors].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, bytes: data.length }));
  return { tensors: new Map(infos.map((info) => [info.name, info])), read: (name) => tensors.get(name)! };
}

function schemeOf(name: string, compression: CompressionFormat): ModuleScheme {
  return { weightFormat: parseWeightFormat(name), activations: undefined, compression };
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(values).buffer);
}

describe("packed integers", () => {
  // Numbers of compressed-tensors' own tests, tests/test_compressors/test_pack_quant.py.
  test.each([
    [4, [1, 2, 3, 4], [52137]],
    [4, [-8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4], [1985229328, 52137]],
    [8, [1, 2, 3, 4], [-2071756159]],
    [8, [-128, -127, -126, -125], [50462976]],
  ])("of %i bits %j lie in the words %j", (bits, values, expected) => {
    const packed = new Uint32Array(expected.length);
    packWords(
      Uint8Array.from(values, (value) => value + 2 ** (bits - 1)),
      bits,
      packed,
    );
    expect([...new Int32Array(packed.buffer)]).toEqual(expected);
    const codes = new Uint8Array(values.length);
    unpackWords(packed, bits, codes);
    expect([...codes].map((code) => code - 2 ** (bits - 1))).toEqual(values);
  });

  test("of 3 bits lie bit after bit, across words", () => {
    const packed = new Uint32Array(2);
    packWords(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0b110, 0b101), 3, packed);
    expect([...packed]).toEqual([(0b10 << 30) >>> 0, 0b1011]);
  });

  test("of 3 bits are read in the older packing too, ten to a word", () => {
    const cols = 200;
    const tensor = quantizeAbsMax(
      Float32Array.from({ length: 2 * cols }, (_, i) => Math.sin(i)),
      ...([2, cols, parseWeightFormat("int3-g32-affine")] as const),
    );
    const scheme = schemeOf("int3-g32-affine", "pack-quantized");
    const tensors = new Map(packQuantized("m", tensor));
    const older = new Uint32Array(2 * 20);
    const { codes } = unpackQuantized("m", scheme, sourceOf(tensors));
    for (let i = 0; i < 2 * cols; i++) {
      const code = ((codes[i >> 1]! >> (4 * (i & 1))) & 7) ^ 4;
      older[Math.floor(i / 10)]! |= code << (3 * (i % 10));
    }
    tensors.set("m.weight_packed", { dtype: "I32", shape: [2, 20], data: new Uint8Array(older.buffer) });
    expect(unpackQuantized("m", scheme, sourceOf(tensors))).toEqual(tensor);
  });
});

test("scales in 16 bit and without their axes of 1 are read", () => {
  const tensors = new Map<string, Tensor>([
    ["m.weight", { dtype: "I8", shape: [2, 2], data: Uint8Array.of(1, 255, 127, 129) }],
    ["m.weight_scale", { dtype: "BF16", shape: [2], data: Uint8Array.of(0x80, 0x3f, 0x00, 0x3f) }],
    ["m.weight_zero_point", { dtype: "I8", shape: [2], data: Uint8Array.of(0, 0) }],
  ]);
  const tensor = unpackQuantized("m", schemeOf("int8-channel", "int-quantized"), sourceOf(tensors));
  expect([...dequantize(tensor)]).toEqual([1, -1, 63.5, -63.5]);
  expect(tensor.zeroPoints).toBeUndefined();
});

describe("a weight is refused", () => {
  const int4 = schemeOf("int4-channel", "pack-quantized");
  const good: readonly (readonly [string, Tensor])[] = [
    ["m.weight_packed", { dtype: "I32", shape: [1, 1], data: words(0) }],
    ["m.weight_shape", { dtype: "I32", shape: [2], data: words(1, 8) }],
    ["m.weight_scale", { dtype: "F32", shape: [1, 1], data: new Uint8Array(Float32Array.of(1).buffer) }],
  ];
  const float32 = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

  test.each<[string, string, Tensor, string, string]>([
    [
      "whose words do not match its shape",
      "m.weight_shape",
      { dtype: "I32", shape: [2], data: words(1, 9) },
      "TENSOR_SHAPE",
      '"m.weight_packed" has shape [1, 1]; its quantization implies [1, 2]',
    ],
    [
      "whose shape is none",
      "m.weight_shape",
      { dtype: "I32", shape: [3], data: words(1, 8, 1) },
      "CHECKPOINT_INVALID",
      "does not hold two sizes",
    ],
    [
      "whose sizes are negative",
      "m.weight_shape",
      { dtype: "I32", shape: [2], data: words(1, -8) },
      "CHECKPOINT_INVALID",
      "does not hold two sizes",
    ],
    [
      "whose words are floats",
      "m.weight_packed",
      { dtype: "F32", shape: [1, 1], data: float32(0) },
      "TENSOR_SHAPE",
      "has dtype F32; its quantization implies I32",
    ],
    [
      "with too many scales",
      "m.weight_scale",
      { dtype: "F32", shape: [2, 1], data: float32(1, 1) },
      "TENSOR_SHAPE",
      "has shape [2, 1]; its quantization implies [1, 1]",
    ],
    [
      "with a negative scale",
      "m.weight_scale",
      { dtype: "F32", shape: [1, 1], data: float32(-1) },
      "CHECKPOINT_INVALID",
      "holds -1, which is no scale",
    ],
    [
      "with a scale of NaN",
      "m.weight_scale",
      { dtype: "F32", shape: [1, 1], data: float32(NaN) },
      "CHECKPOINT_INVALID",
      "holds NaN, which is no scale",
    ],
    [
      "that is symmetric and has zero points",
      "m.weight_zero_point",
      { dtype: "I8", shape: [1, 1], data: Uint8Array.of(1) },
      "CHECKPOINT_INVALID",
      "gives zero points to a symmetric weight",
    ],
    [
      "whose columns are reordered",
      "m.weight_g_idx",
      { dtype: "I32", shape: [8], data: words(0, 0, 0, 0, 0, 0, 0, 0) },
      "QUANTIZATION_UNSUPPORTED",
      "reorders columns",
    ],
  ])("%s", (_, name, tensor, code, message) => {
    const tensors = new Map([...good, [name, tensor]]);
    expect(() => unpackQuantized("m", int4, sourceOf(tensors))).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });

  test("whose bytes are no codes of its format", () => {
    const tensors = new Map<string, Tensor>([
      ["m.weight", { dtype: "I8", shape: [1, 2], data: Uint8Array.of(7, 8) }],
      ["m.weight_scale", { dtype: "F32", shape: [1, 1], data: float32(1) }],
    ]);
    expect(() => unpackQuantized("m", schemeOf("int4-channel", "int-quantized"), sourceOf(tensors))).toThrow(
      'tensor "m.weight" holds 8, which is no code of int4',
    );
  });
});
