import { describe, expect, test } from "vitest";
import { defaultQualitySchemes, outlierQualitySchemes, parseQualityScheme } from "./quality-scheme.ts";

test("a name says weights, activations and method", () => {
  expect(parseQualityScheme("bf16")).toEqual({ kind: "float", name: "bf16", format: "bf16" });
  expect(parseQualityScheme("int4-g128/awq+gptq")).toMatchObject({
    kind: "quantized",
    names: { scheme: "int4", granularity: "group:128", method: "awq+gptq" },
    needsCalibration: true,
  });
  expect(parseQualityScheme("int8-channel+int8-static/smoothquant")).toMatchObject({
    names: { scheme: "w8a8-int8", granularity: "channel", method: "smoothquant", activations: "static" },
  });
  expect(parseQualityScheme("mxfp4")).toMatchObject({
    names: { scheme: "mxfp4", method: "absmax" },
    needsCalibration: false,
  });
  expect(parseQualityScheme("int4-g32-affine")).toMatchObject({ recipe: { weightFormat: { affine: true } } });
});

test("every default scheme is one", () => {
  for (const name of [...defaultQualitySchemes, ...outlierQualitySchemes])
    expect(parseQualityScheme(name).name).toBe(name);
});

describe("refused with the name", () => {
  test.each(["", "int4 g128", "int4-g128/", "INT4"])("%j", (name) => {
    expect(() => parseQualityScheme(name)).toThrow(JSON.stringify(name));
  });

  test("activations of another format than the weights", () => {
    expect(() => parseQualityScheme("int8-channel+e4m3")).toThrow("e4m3 activations go with e4m3 weights");
  });

  test("what no recipe is", () => {
    expect(() => parseQualityScheme("int5-channel")).toThrow('no scheme is called "int5"');
    expect(() => parseQualityScheme("int4-g128/magic")).toThrow('no method is called "magic"');
    expect(() => parseQualityScheme("fp4-g32")).toThrow("compressed-tensors has no place for fp4-g32");
  });
});
