import { describe, expect, test } from "vitest";
import { randomValues } from "../test/random-values.ts";
import {
  decodeE8m0,
  dequantize,
  dequantizeMx,
  dequantizeNvfp4,
  encodeE8m0,
  formats,
  type MxElement,
  parseWeightFormat,
  quantizeAbsMax,
  quantizeBlocks,
  quantizeMx,
  quantizeNvfp4,
  quantizeSymmetric,
} from "./index.ts";

const seed = 77_001;

test("every E8M0 code comes back after decoding and encoding", () => {
  for (let code = 0; code < 256; code++) expect(encodeE8m0(decodeE8m0(code))).toBe(code);
  expect(decodeE8m0(0)).toBe(2 ** -127);
  expect(decodeE8m0(127)).toBe(1);
});

test("E8M0 rounds down to a power of two and saturates", () => {
  expect([1.99, 3, 0.75].map((scale) => decodeE8m0(encodeE8m0(scale)))).toEqual([1, 2, 0.5]);
  expect([Infinity, 0, 1e-45].map(encodeE8m0)).toEqual([254, 0, 0]);
  expect([NaN, -1].map(encodeE8m0)).toEqual([255, 255]);
});

describe.each(["e2m1", "e4m3", "e5m2"] as const)("MX with %s elements", (element) => {
  test(`scales are powers of two that bring the largest value into the top binade (seed ${seed})`, () => {
    const values = randomValues(seed, 100).map((value, i) => value * 10 ** (i % 7));
    const blocks = quantizeMx(element, values);
    expect(blocks.scales.length).toBe(4);
    const { max } = formats[element];
    for (let block = 0; block < 4; block++) {
      const members = values.subarray(block * 32, (block + 1) * 32);
      const largest = members.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const quotient = largest / decodeE8m0(blocks.scales[block]!);
      expect(quotient).toBeGreaterThanOrEqual(2 ** Math.floor(Math.log2(max)));
      expect(quotient).toBeLessThan(2 ** Math.ceil(Math.log2(max)));
    }
  });

  test("values on the grid of the format come back exactly", () => {
    const values = new Float32Array([3, -1.5, 0.5, 0, 2, 1, 6, 4, ...new Float32Array(24), 48, -12]);
    expect(dequantizeMx(quantizeMx(element, values)).map((value) => value + 0)).toEqual(values);
  });

  test("a block of zeros decodes to zeros, and one with a NaN scale to NaN", () => {
    const blocks = quantizeMx(element, new Float32Array(40));
    expect(dequantizeMx(blocks)).toEqual(new Float32Array(40));
    expect([...dequantizeMx({ ...blocks, scales: new Uint8Array([0, 255]) }).subarray(31, 33)]).toEqual([0, NaN]);
    expect(() => dequantizeMx({ ...blocks, scales: new Uint8Array(3) })).toThrow("3 scales do not match 40 codes");
  });
});

test(`NVFP4 keeps each block within its own half step (seed ${seed})`, () => {
  const values = randomValues(seed, 150).map((value, i) => value * (1 + Math.floor(i / 16)));
  const blocks = quantizeNvfp4(values);
  expect(blocks.blockScales.length).toBe(10);
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(blocks.tensorScale).toBeCloseTo(largest / (448 * 6), 6);
  expect(Math.max(...blocks.blockScales)).toBe(formats.e4m3.encode(448));
  const back = dequantizeNvfp4(blocks);
  for (let i = 0; i < values.length; i++) {
    const scale = formats.e4m3.decode(blocks.blockScales[Math.floor(i / 16)]!) * blocks.tensorScale;
    // Half of E2M1's widest gap (4 to 6), plus what a scale rounded down by up to 1/16 cuts off at the top.
    expect(Math.abs(back[i]! - values[i]!)).toBeLessThanOrEqual(scale * (1 + 6 / 16));
  }
});

test("NVFP4 of zeros is zeros, also for one block among others", () => {
  expect(dequantizeNvfp4(quantizeNvfp4(new Float32Array(20)))).toEqual(new Float32Array(20));
  const values = new Float32Array(32).fill(3, 16);
  expect([...dequantizeNvfp4(quantizeNvfp4(values)).subarray(14, 18)]).toEqual([0, 0, 3, 3].map(Math.fround));
  expect(() => dequantizeNvfp4({ ...quantizeNvfp4(values), blockScales: new Uint8Array(1) })).toThrow("1 scales");
});

describe.each(["mxfp4", "mxfp8", "nvfp4"])("%s matrices", (name) => {
  const weightFormat = parseWeightFormat(name);

  test(`whose rows are whole blocks have the codes of the flat quantizers (seed ${seed})`, () => {
    const values = randomValues(seed, 3 * 64).map((value, i) => value * 2 ** (i % 5));
    const tensor = quantizeAbsMax(values, 3, 64, weightFormat);
    const { format } = weightFormat;
    const flat =
      name === "nvfp4" ? dequantizeNvfp4(quantizeNvfp4(values)) : dequantizeMx(quantizeMx(format as MxElement, values));
    expect(dequantize(tensor)).toEqual(flat);
  });

  test("begin a block with each row", () => {
    const values = new Float32Array(2 * 5).fill(6, 0, 5).fill(48, 5);
    const tensor = quantizeAbsMax(values, 2, 5, weightFormat);
    expect(tensor.scales.length).toBe(2);
    for (const [i, value] of dequantize(tensor).entries()) expect(value).toBeCloseTo(values[i]!, 4);
  });

  test("are refused by the symmetric quantizer, and other formats by theirs", () => {
    expect(() => quantizeSymmetric(new Float32Array(4), 1, 4, weightFormat)).toThrow(
      `${name} is quantized by quantizeBlocks`,
    );
    expect(() => quantizeBlocks(new Float32Array(4), 1, 4, parseWeightFormat("fp4-g32"))).toThrow(
      "fp4-g32 is none of mxfp4, mxfp8 and nvfp4",
    );
  });
});

test(`NVFP4 matrices keep the tensor scale, from which the E4M3 codes of their scales come back (seed ${seed})`, () => {
  const values = randomValues(seed, 4 * 64).map((value, i) => value * 2 ** (i % 9));
  const { scales, tensorScale } = quantizeAbsMax(values, 4, 64, parseWeightFormat("nvfp4"));
  const codes = [...scales].map((scale) => formats.e4m3.encode(scale / tensorScale!));
  expect(new Set(codes).size).toBeGreaterThan(3);
  expect(Float32Array.from(codes, (code) => formats.e4m3.decode(code) * tensorScale!)).toEqual(scales);
});
