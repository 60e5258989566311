import { dequantize, parseWeightFormat, quantizeAbsMax, weightFormats } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { quantizeMethod, quantizeMethods, quantizeWeight } from "./index.ts";

const matrix = Float32Array.from({ length: 6 * 70 }, (_, i) => Math.sin(i * i));

test("every method is registered under its own name", () => {
  for (const [name, method] of Object.entries(quantizeMethods)) expect(method.name).toBe(name);
  expect(quantizeMethod("absmax").name).toBe("absmax");
});

test("methods that are not built or need more than a matrix say so, and unknown ones list what there is", () => {
  expect(() => quantizeMethod("qat")).toThrow(expect.objectContaining({ code: "METHOD_NOT_BUILT" }));
  for (const name of ["gptq", "awq", "smoothquant"]) {
    expect(() => quantizeMethod(name)).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        message: expect.stringContaining(`${name} needs calibration activations`),
      }),
    );
  }
  for (const name of ["nonsense", "toString", ""]) {
    expect(() => quantizeMethod(name)).toThrow(
      `no quantization method is called "${name}"; there are absmax, percentile, mse, entropy`,
    );
  }
});

describe.each(Object.values(quantizeMethods))("$name", (method) => {
  test.each([NaN, Infinity, -Infinity])("refuses a matrix with %d by its name, the index and the value", (value) => {
    const values = new Float32Array(12).fill(1);
    values[7] = value;
    expect(() => method.quantize(values, 3, 4, parseWeightFormat("int8"), { name: "layers.0.up" })).toThrow(
      expect.objectContaining({
        code: "WEIGHT_NOT_FINITE",
        message: `"layers.0.up": element 7 is ${value}; weights are finite numbers`,
        field: "layers.0.up",
      }),
    );
  });

  test("refuses options that are another method's, shapes that do not fit and formats without scales", () => {
    const others = (["percentile", "smallestRatio", "histogramBins"] as const).filter(
      (option) => !method.options.some((each) => each === option),
    );
    expect(others.length).toBeGreaterThan(1);
    const int8 = parseWeightFormat("int8");
    for (const option of others) {
      expect(() => method.quantize(matrix, 6, 70, int8, { [option]: 1 })).toThrow(
        `the method ${method.name} has no option "${option}"`,
      );
    }
    expect(() => method.quantize(matrix, 6, 71, int8)).toThrow("420 values do not fill a matrix [6, 71]");
    expect(() => method.quantize(matrix, 6, 70, parseWeightFormat("bf16"))).toThrow("bf16 has no scales");
  });
});

const scaled = [...weightFormats].filter(([, { granularity }]) => granularity !== undefined);

test.each(scaled)("absmax quantizes to %s", (_, weightFormat) => {
  const expected = quantizeAbsMax(matrix, 6, 70, weightFormat);
  expect(quantizeWeight("absmax", matrix, 6, 70, weightFormat)).toEqual(expected);
});

test("absmax takes scales along either axis", () => {
  for (const axis of [0, 1] as const) {
    const weightFormat = { format: "int8", granularity: { kind: "channel", axis }, affine: false } as const;
    const tensor = quantizeWeight("absmax", matrix, 6, 70, weightFormat);
    expect(tensor.scales).toHaveLength(axis === 0 ? 6 : 70);
    const restored = dequantize(tensor);
    for (let i = 0; i < matrix.length; i++) expect(Math.abs(restored[i]! - matrix[i]!)).toBeLessThan(0.5 / 126);
  }
});

test("a format without scales is refused", () => {
  expect(() => quantizeWeight("absmax", matrix, 6, 70, parseWeightFormat("bf16"))).toThrow("bf16 has no scales");
});
