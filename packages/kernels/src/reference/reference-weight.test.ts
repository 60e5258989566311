import { dequantize, formats, parseWeightFormat, quantizeAbsMax } from "@kvant/formats";
import { expect, test } from "vitest";
import { floatSource } from "../conformance/conformance-case.ts";
import type { ActivationScheme, PlanWeight } from "../plan.ts";
import { referenceWeight, requireSupported } from "./reference-weight.ts";

const [rows, cols] = [5, 70];
const values = Float32Array.from({ length: rows * cols }, (_, i) => Math.sin(i * i));

function linear(format: string, activation: ActivationScheme): PlanWeight {
  return { id: 0, name: "w", class: "linear", rows, cols, format: parseWeightFormat(format), activation } as PlanWeight;
}

test.each(["int3-channel", "int3-g32-affine", "int2-g64", "int2-g128-affine", "mxfp8"])(
  "%s weights are quantized while they load, through the registry of formats",
  (name) => {
    const weight = linear(name, { format: "bf16" });
    requireSupported(weight);
    const tensor = quantizeAbsMax(values, rows, cols, weight.format);
    expect(referenceWeight(weight, floatSource(values))).toMatchObject({ kind: "values", values: dequantize(tensor) });
  },
);

test.each(["int8-channel", "int4-g32-affine", "int3-g32", "int3-g64-affine", "int2-channel-affine"])(
  "%s weights keep their codes, less the zero points, for integer activations",
  (name) => {
    const matrix = referenceWeight(linear(name, { format: "int8", scale: "token" }), floatSource(values));
    if (matrix.kind !== "codes") expect.fail("integer weights have codes");
    const groups = Math.ceil(cols / matrix.groupSize);
    const products = Float32Array.from(matrix.codes, (code, i) => {
      const group = Math.floor((i % cols) / matrix.groupSize);
      return code * matrix.scales[Math.floor(i / cols) * groups + group]!;
    });
    expect(products.map((value) => value + 0)).toEqual(matrix.values.map((value) => value + 0));
    expect(matrix.codes.every((code) => Math.abs(code) <= 2 * formats[parseWeightFormat(name).format].max + 1)).toBe(
      true,
    );
  },
);

test.each(["e4m3-t128x128", "int8-t128x128", "int3-tensor-affine"])("%s weights have no kernel", (name) => {
  expect(() => requireSupported(linear(name, { format: "bf16" }))).toThrow(
    expect.objectContaining({
      code: "OP_UNSUPPORTED",
      message: `linear "w": there is no kernel for ${name} weights`,
    }),
  );
});
