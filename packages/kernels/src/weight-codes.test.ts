import { formats, parseWeightFormat, quantizeAbsMax, type WeightFormat } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { Random } from "./conformance/random.ts";
import type { PlanWeight, WeightId } from "./plan.ts";
import { heldCodes } from "./weight-codes.ts";

const [rows, cols] = [4, 40];

function weightOf(format: WeightFormat): PlanWeight {
  return { id: 0 as WeightId, name: "w", class: "linear", rows, cols, format, activation: { format: "fp32" } };
}

function madeOf(name: string, seed: number) {
  const format = parseWeightFormat(name);
  return {
    weight: weightOf(format),
    tensor: quantizeAbsMax(new Random(seed).normals(rows * cols), rows, cols, format),
  };
}

describe("scales that are bytes in memory", () => {
  test("the E8M0 codes of mxfp4 stand for the same powers of two, the smallest included", () => {
    const { weight, tensor } = madeOf("mxfp4", 1);
    const scales = tensor.scales.with(0, 2 ** -127).with(1, 2 ** 127);
    const { scaleCodes, scales: floats } = heldCodes(weight, 0, { ...tensor, scales });
    expect([...scaleCodes].map((code) => 2 ** (code - 127))).toEqual([...scales]);
    expect(floats).toEqual(new Float32Array());
  });

  test.each([0, 3, -1, 2 ** -128])("mxfp4 refuses a scale of %s", (scale) => {
    const { weight, tensor } = madeOf("mxfp4", 1);
    expect(() => heldCodes(weight, 0, { ...tensor, scales: tensor.scales.with(2, scale) })).toThrow(
      `weight "w" has a scale of ${Math.fround(scale)} at 2; mxfp4 holds powers of two from 2^-127 to 2^127`,
    );
  });

  test("the E4M3 codes of nvfp4 times the tensor scale are the scales, whichever the tensor scale is", () => {
    const { weight, tensor } = madeOf("nvfp4", 2);
    const seed = 3;
    const random = new Random(seed);
    for (let round = 0; round < 100; round++) {
      const tensorScale = Math.fround(2 ** random.integer(-100, 100) * (1 + random.next()));
      const codes = tensor.scales.map(() => random.integer(0, 0x7e));
      const scales = codes.map((code) => formats.e4m3.decode(code) * tensorScale);
      const held = heldCodes(weight, 0, { ...tensor, scales, tensorScale });
      expect([...held.scaleCodes], `seed ${seed}, round ${round}`).toEqual([...codes]);
      expect(held.tensorScale).toBe(tensorScale);
    }
  });

  test("a matrix of zeros in nvfp4 has a tensor scale of 0 and codes of 0", () => {
    const format = parseWeightFormat("nvfp4");
    const tensor = quantizeAbsMax(new Float32Array(rows * cols), rows, cols, format);
    const { scaleCodes, tensorScale } = heldCodes(weightOf(format), 0, tensor);
    expect(scaleCodes).toEqual(new Uint8Array(12));
    expect(tensorScale).toBe(0);
  });

  test.each([NaN, Infinity, -1, 0.1])("nvfp4 refuses a tensor scale of %s", (tensorScale) => {
    const { weight, tensor } = madeOf("nvfp4", 2);
    expect(() => heldCodes(weight, 0, { ...tensor, tensorScale })).toThrow(
      `has a tensor scale of ${tensorScale}, which is no float32 from 0 up`,
    );
  });
});

test("refusals name the weight, the value and what is allowed", () => {
  const { weight, tensor } = madeOf("int4-g32-affine", 4);
  const refuse = (change: Partial<typeof tensor>, sentence: string) =>
    expect(() => heldCodes(weight, 0, { ...tensor, ...change })).toThrow(sentence);
  refuse(
    { weightFormat: parseWeightFormat("int8-channel") },
    `weight "w" is int4-g32-affine in the plan, and the codes are int8-channel`,
  );
  refuse({ codes: new Uint8Array(79) }, `codes of "w": 79 bytes of codes where [4, 40] has 80`);
  refuse({ scales: new Float32Array(9) }, `codes of "w": 9 scales where [4, 40] has 8`);
  refuse({ zeroPoints: undefined }, `codes of "w": 0 zero points where [4, 40] has 8`);
  refuse({ zeroPoints: tensor.zeroPoints!.with(5, -9) }, `a zero point of -9 at 5; codes end at -8 and 7`);
  refuse({ scales: tensor.scales.with(1, Infinity) }, "a scale of Infinity at 1");
  refuse({ rows: 5 }, `codes of "w": [5, 40] from row 0 on are no rows of [4, 40]`);
});
