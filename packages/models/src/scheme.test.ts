import { weightFormatName } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { activationsOf, resolveScheme, type SchemeRequest, type StoredDtype } from "./scheme.ts";

/** `weights head embedding activations kv kvScales` in one line. */
function resolved(request: SchemeRequest, stored: StoredDtype = "bf16"): string {
  const { weights, head, embedding, activations, kv, kvScales } = resolveScheme(request, stored);
  return [weightFormatName(weights), weightFormatName(head), embedding, activations, kv, kvScales].join(" ");
}

test("a request for nothing keeps the stored format, with a bf16 cache", () => {
  expect(resolved({}, "bf16")).toBe("bf16 bf16 bf16 bf16 bf16 none");
  expect(resolved({}, "fp16")).toBe("fp16 fp16 fp16 fp16 bf16 none");
  expect(resolved({}, "fp32")).toBe("fp32 fp32 fp32 fp32 bf16 none");
});

test.each([
  ["int8", "int8-channel int8-channel bf16 int8"],
  ["int8-tensor", "int8-tensor int8-tensor bf16 int8"],
  ["int8-g128", "int8-g128 int8-channel bf16 int8"],
  ["int4-g32", "int4-g32 int8-channel bf16 int8"],
  ["e4m3", "e4m3-channel e4m3-channel bf16 bf16"],
  ["fp4-g32", "fp4-g32 e4m3-channel bf16 bf16"],
  ["int4-g32-affine", "int4-g32-affine int8-channel bf16 int8"],
  ["mxfp4", "mxfp4 e4m3-channel bf16 bf16"],
  ["nvfp4", "nvfp4 e4m3-channel bf16 bf16"],
  ["fp32", "fp32 fp32 fp32 fp32"],
])("%s weights resolve to %s", (weights, expected) => {
  expect(resolved({ weights })).toBe(`${expected} bf16 none`);
});

test("the embedding table stays in fp16 when it is stored so", () => {
  expect(resolved({ weights: "int8" }, "fp16")).toBe("int8-channel int8-channel fp16 int8 bf16 none");
});

test("8-bit caches have a scale per token and head unless static ones are asked for", () => {
  expect(resolved({ kvFormat: "int8" })).toBe("bf16 bf16 bf16 bf16 int8 token-head");
  expect(resolved({ kvFormat: "e4m3", kvScales: "tensor" })).toBe("bf16 bf16 bf16 bf16 e4m3 tensor");
  expect(() => resolved({ kvFormat: "fp16", kvScales: "head" })).toThrow("KV format fp16 has no scales");
});

describe("activations", () => {
  test("that do not go with the weights are refused", () => {
    expect(() => resolved({ weights: "bf16", activations: "int8" })).toThrow(
      "bf16 weights take fp32, bf16, fp16 activations, not int8",
    );
    expect(() => resolved({ weights: "e4m3", activations: "int8" })).toThrow("not int8");
    expect(resolved({ weights: "int4-g32", activations: "bf16" })).toContain("int4-g32 int8-channel bf16 bf16");
  });

  test("of a float head stay float beside integer layers", () => {
    const scheme = resolveScheme({ weights: "int8", headFormat: "bf16" }, "bf16");
    expect(activationsOf(scheme.weights, scheme)).toBe("int8");
    expect(activationsOf(scheme.head, scheme)).toBe("bf16");
  });
});

test("unknown names are refused", () => {
  expect(() => resolved({ weights: "int5" })).toThrow('no weight format is called "int5"');
  expect(() => resolved({ kvFormat: "int3" })).toThrow('no KV format is called "int3"');
});
