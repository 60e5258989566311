import { dequantize, parseWeightFormat, quantizeAbsMax, weightFormats } from "@kvant/formats";
import { expect, test } from "vitest";
import { quantizeMethod, quantizeMethods, quantizeWeight } from "./index.ts";

const matrix = Float32Array.from({ length: 6 * 70 }, (_, i) => Math.sin(i * i));

test("every method is registered under its own name", () => {
  for (const [name, method] of Object.entries(quantizeMethods)) expect(method.name).toBe(name);
  expect(quantizeMethod("absmax").name).toBe("absmax");
});

test("methods that are not built say so, and unknown ones list what there is", () => {
  expect(() => quantizeMethod("gptq")).toThrow(expect.objectContaining({ code: "METHOD_NOT_BUILT" }));
  for (const name of ["nonsense", "toString", ""]) {
    expect(() => quantizeMethod(name)).toThrow(`no quantization method is called "${name}"; there is absmax`);
  }
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
