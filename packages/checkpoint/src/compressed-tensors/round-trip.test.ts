import { dequantize, parseWeightFormat, type QuantizedTensor, quantizeAbsMax, weightFormats } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { decodeWeight } from "../../test/decode-compressed.ts";
import {
  compressionFormat,
  packQuantized,
  parseQuantizationConfig,
  quantizationConfigJson,
  storableTensor,
  type Tensor,
  type TensorSource,
  unpackQuantized,
} from "../index.ts";
import { globalScale, tensorScaleOf } from "./scale-layout.ts";

const seed = Date.now() % 1_000_000;
console.log(`compressed-tensors round trips: seed ${seed}`);

function randomValues(count: number, salt: number): Float32Array {
  let state = (seed * 7919 + salt * 104_729 + 1) >>> 0;
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => (next() + next() + next() - 1.5) * 2 ** (next() * 6 - 3));
}

function sourceOf(tensors: ReadonlyMap<string, Tensor>): TensorSource {
  const infos = [...tensors].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, bytes: data.length }));
  return { tensors: new Map(infos.map((info) => [info.name, info])), read: (name) => tensors.get(name)! };
}

const dynamicInt8 = { format: "int8", scale: "dynamic" } as const;
const refused = (name: string) => /^(fp32|bf16|fp16|e5m2|fp4)/.test(name) || /^int.*t128x128/.test(name);
const held = [...weightFormats.keys()].filter((name) => !refused(name));
const shapes = [
  [1, 2],
  [3, 48],
  [5, 70],
  [33, 162],
  [130, 34],
  [4, 291],
] as const;

describe.each(held)("%s", (name) => {
  const weightFormat = parseWeightFormat(name);
  const activations = [undefined, ...(name.startsWith("int") ? [dynamicInt8] : [])];

  test.each(shapes)("of shape [%i, %i] comes back to the bit, and an independent decoder agrees", (rows, cols) => {
    if (cols % 2 === 1 && weightFormat.format === "e2m1") {
      const odd = quantizeAbsMax(randomValues(rows * cols, 1), rows, cols, weightFormat);
      expect(() => packQuantized("m", odd)).toThrow(`"m" has ${cols} columns; compressed-tensors holds FP4 in pairs`);
      return;
    }
    const tensor = storableTensor(quantizeAbsMax(randomValues(rows * cols, rows), rows, cols, weightFormat));
    for (const each of activations) {
      const json = quantizationConfigJson({ modules: [{ module: "m", weightFormat, activations: each }], ignore: [] });
      const scheme = parseQuantizationConfig("config.json", JSON.parse(JSON.stringify(json))).schemeOf("m")!;
      expect(scheme).toEqual({ weightFormat, activations: each, compression: compressionFormat(weightFormat, each) });
      const tensors = packQuantized("m", tensor, scheme.compression);
      expect(unpackQuantized("m", scheme, sourceOf(tensors))).toEqual(tensor);
      const group = (json.config_groups as Record<string, Parameters<typeof decodeWeight>[1]>).group_0!;
      const values = decodeWeight("m", group, tensors).flat();
      // Adding 0 makes -0 the 0 that an integer decoder gives.
      const expected = dequantize(tensor).map((value) => value + 0);
      expect(Float32Array.from(values, (value) => value + 0)).toEqual(expected);
    }
  });

  test("of zeros comes back", () => {
    const tensor = quantizeAbsMax(new Float32Array(4 * 64), 4, 64, weightFormat);
    const scheme = { weightFormat, activations: undefined, compression: compressionFormat(weightFormat, undefined) };
    expect(unpackQuantized("m", scheme, sourceOf(packQuantized("m", tensor)))).toEqual(tensor);
  });
});

test.each([...weightFormats.keys()].filter(refused))("%s is refused by name", (name) => {
  expect(() => compressionFormat(parseWeightFormat(name), undefined)).toThrow(
    expect.objectContaining({
      code: "QUANTIZATION_UNSUPPORTED",
      message: expect.stringContaining(`no place for ${name}; it holds int8, int4`),
    }),
  );
});

test("groups and tiles of other sizes come back", () => {
  const integer = { format: "int4", granularity: { kind: "group", size: 48 }, affine: true } as const;
  const float = { format: "e4m3", granularity: { kind: "tile", rows: 8, cols: 24 }, affine: false } as const;
  for (const weightFormat of [integer, float]) {
    const tensor = quantizeAbsMax(randomValues(19 * 100, 7), 19, 100, weightFormat);
    const json = quantizationConfigJson({ modules: [{ module: "m", weightFormat }], ignore: [] });
    const scheme = parseQuantizationConfig("config.json", json).schemeOf("m")!;
    expect(unpackQuantized("m", scheme, sourceOf(packQuantized("m", tensor)))).toEqual(tensor);
  }
});

describe("an NVFP4 tensor scale", () => {
  const weightFormat = parseWeightFormat("nvfp4");
  // Near 2, reciprocals lie wider apart than the numbers that they are to give back.
  const lost = Math.fround(1.9999998807907104);
  const tensor: QuantizedTensor = {
    ...{ weightFormat, rows: 1, cols: 16, codes: new Uint8Array(8).fill(0x21), zeroPoints: undefined },
    ...{ scales: Float32Array.of(448 * lost), tensorScale: lost },
  };

  test("that its reciprocal does not give back is refused, and moved by one unit on request", () => {
    expect(tensorScaleOf(globalScale(lost))).not.toBe(lost);
    expect(() => packQuantized("m", tensor)).toThrow("does not come back from its float32 reciprocal; storableTensor");
    const moved = storableTensor(tensor);
    expect(Math.abs(moved.tensorScale! - lost)).toBe(2 ** -23);
    expect(moved.scales[0]).toBe(Math.fround(448 * moved.tensorScale!));
    expect(moved.codes).toEqual(tensor.codes);
    expect(storableTensor(moved)).toBe(moved);
    expect(packQuantized("m", moved).get("m.weight_scale")!.data).toEqual(Uint8Array.of(0x7e));
  });

  test(`once moved stays where it is, wherever it lies (seed ${seed})`, () => {
    const movesTwice = randomValues(20_000, 3).filter((start) => {
      const moved = tensorScaleOf(globalScale(Math.abs(start)));
      return tensorScaleOf(globalScale(moved)) !== moved;
    });
    expect(movesTwice).toEqual(new Float32Array());
  });

  test("that no scale is a product of is refused", () => {
    const odd = { ...tensor, scales: Float32Array.of(0.3), tensorScale: 1 };
    expect(() => packQuantized("m", odd)).toThrow("which is no E4M3 number times its tensor scale 1");
    expect(() => packQuantized("m", { ...tensor, tensorScale: undefined! })).toThrow("has no tensor scale");
  });
});

test("an MX scale that is no power of two is refused", () => {
  const tensor = quantizeAbsMax(randomValues(32, 4), 1, 32, parseWeightFormat("mxfp4"));
  expect(() => packQuantized("m", { ...tensor, scales: Float32Array.of(0.75) })).toThrow(
    "0.75, which is no power of two",
  );
});

test("a layout that is not the format's is refused", () => {
  const tensor = quantizeAbsMax(randomValues(32, 5), 1, 32, parseWeightFormat("int4-channel"));
  expect(() => packQuantized("m", tensor, "float-quantized")).toThrow(
    "format float-quantized cannot hold int4-channel; pack-quantized can",
  );
});
