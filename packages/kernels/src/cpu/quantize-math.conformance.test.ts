import {
  formats,
  type Granularity,
  type QuantizedTensor,
  quantizeAbsMax,
  type WeightFormat,
  weightFormatName,
  weightFormats,
} from "@kvant/formats";
import { expect, test } from "vitest";
import { Random } from "../conformance/random.ts";
import { nativeInfo } from "./cpu-backend.ts";
import { nativeQuantizeMath, type QuantizeMath } from "./quantize-math.ts";

const seed = 53_001;
const maths = nativeInfo().tiers.flatMap((tier) => {
  return [1, 2, 4].map((threads) => ({ name: `${tier} on ${threads} threads`, math: mathOf({ tier, threads }) }));
});
const codeFormats = ["int8", "int4", "int3", "int2", "e4m3", "e5m2", "e2m1"] as const;
const granularities: readonly Granularity[] = [
  { kind: "tensor" },
  { kind: "channel", axis: 0 },
  ...[1, 7, 16, 32, 128, 1000].map((size) => ({ kind: "group", size }) as const),
];
const taken = codeFormats.flatMap((format) =>
  granularities.map((granularity): WeightFormat => ({ format, granularity, affine: false })),
);
const shapes = [
  [1, 1],
  [5, 33],
  [3, 128],
  [37, 129],
  [2, 511],
  [200, 320],
  [0, 8],
  [4, 0],
] as const;

function mathOf(options: { readonly tier: string; readonly threads: number }): QuantizeMath {
  const { math, reason } = nativeQuantizeMath(options);
  if (math === undefined) throw new Error(reason);
  return math;
}

/** Values over many magnitudes, with every kind of awkward one among them. */
function awkwardValues(random: Random, count: number): Float32Array {
  const special = [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    0,
    -0,
    1e-45,
    -1e-40,
    3.4e38,
    0.5,
    1.5,
  ];
  return random.normals(count).map((value) => {
    const kind = random.integer(0, 59);
    return kind < special.length ? special[kind]! : value * 2 ** (random.integer(0, 23) - 18);
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint8Array | Float32Array): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

/** Compares on every tier and number of threads. */
function expectSameBits(values: Float32Array, rows: number, cols: number, weightFormat: WeightFormat): QuantizedTensor {
  const expected = quantizeAbsMax(values, rows, cols, weightFormat);
  for (const { math, name } of maths) {
    const { codes, scales, ...rest } = math.quantizeAbsMax(values, rows, cols, weightFormat)!;
    expect(rest).toEqual({ weightFormat, rows, cols, zeroPoints: undefined });
    expect(bytesOf(codes).equals(bytesOf(expected.codes)), `codes [${rows}, ${cols}] ${name}`).toBe(true);
    expect(bytesOf(scales).equals(bytesOf(expected.scales)), `scales [${rows}, ${cols}] ${name}`).toBe(true);
  }
  return expected;
}

test.each(taken.map((weightFormat) => [weightFormatName(weightFormat), weightFormat] as const))(
  `%s has the bits of @kvant/formats on every tier and number of threads (seed ${seed})`,
  (_, weightFormat) => {
    const random = new Random(seed);
    for (const [rows, cols] of shapes) {
      expectSameBits(random.normals(rows * cols), rows, cols, weightFormat);
      expectSameBits(awkwardValues(random, rows * cols), rows, cols, weightFormat);
    }
    expectSameBits(new Float32Array(64).fill(1e-45), 2, 32, weightFormat); // the scale underflows
  },
);

test.each(codeFormats)("%s codes of every float32 exponent and of ties are those of @kvant/formats", (format) => {
  // The largest value keeps the scale at 1, so that values are quotients.
  const largest = formats[format].max;
  const values = new Float32Array(256 * 512);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = ((i >>> 9) << 23) | ((i & 511) << 14);
  const quotients = values.map((value, i) => (Math.abs(value) <= largest ? (i % 3 === 0 ? -value : value) : 0));
  quotients[0] = largest;
  const { scales } = expectSameBits(quotients, 256, 512, { format, granularity: { kind: "tensor" }, affine: false });
  expect(scales).toEqual(Float32Array.of(1));
});

test("formats without a native pass are left to TypeScript", () => {
  const math = mathOf({ tier: nativeInfo().tier, threads: 1 });
  const values = new Float32Array(128 * 32);
  const byRow = (weightFormat: WeightFormat) =>
    !weightFormat.affine && weightFormat.scaleFormat === undefined && weightFormat.granularity?.kind !== "tile";
  for (const [name, weightFormat] of weightFormats) {
    const tensor = math.quantizeAbsMax(values, 128, 32, weightFormat);
    expect(tensor !== undefined, name).toBe(weightFormat.granularity !== undefined && byRow(weightFormat));
  }
  const byColumn: WeightFormat = { format: "int8", granularity: { kind: "channel", axis: 1 }, affine: false };
  expect(math.quantizeAbsMax(values, 128, 32, byColumn)).toBeUndefined();
});

test("a shape that the values do not fill, a group size that is none and no threads are refused", () => {
  const math = mathOf({ tier: nativeInfo().tier, threads: 1 });
  const group = (size: number): WeightFormat => ({
    format: "int8",
    granularity: { kind: "group", size },
    affine: false,
  });
  const refusal = (sentence: RegExp) =>
    expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(sentence) });
  expect(() => math.quantizeAbsMax(new Float32Array(7), 2, 4, group(2))).toThrow(refusal(/7 values do not fill/));
  expect(() => math.quantizeAbsMax(new Float32Array(8), 2, 4, group(0))).toThrow(refusal(/group size/));
  expect(() => nativeQuantizeMath({ threads: 0 })).toThrow(refusal(/threads is a positive integer/));
});
