import { weightFormatName } from "@kvant/formats";
import { expect, test } from "vitest";
import { methodName, needsCalibration, parseLinearRecipe } from "./linear-recipe.ts";
import { parseRecipe, recipeFor, uniformRecipe } from "./recipe.ts";

const int4 = { scheme: "int4", granularity: "group:128", method: "gptq" };

test("the first rule that matches decides, after what is ignored", () => {
  const recipe = parseRecipe({
    rules: [
      { match: "*.down_proj", scheme: "int8", granularity: "channel", method: "absmax" },
      { match: "re:model\\.layers\\.[01]\\..*", scheme: "e4m3", granularity: "tensor", method: "mse" },
      { match: "*", ...int4 },
    ],
    ignore: ["lm_head", "*.0.self_attn.o_proj"],
  });
  const of = (module: string) => {
    const answer = recipeFor(recipe, module);
    return answer.kind === "keep" ? answer.reason : weightFormatName(answer.linear.weightFormat);
  };
  expect(of("model.layers.0.mlp.down_proj")).toBe("int8-channel");
  expect(of("model.layers.1.mlp.up_proj")).toBe("e4m3-tensor");
  expect(of("model.layers.10.mlp.up_proj")).toBe("int4-g128");
  expect(of("lm_head")).toBe('the recipe ignores "lm_head"');
  expect(of("model.layers.0.self_attn.o_proj")).toBe('the recipe ignores "*.0.self_attn.o_proj"');
  expect(recipe).toMatchObject({ observer: "min-max", damping: 0.01, actOrder: false, kv: undefined });
});

test("a point in a pattern is a point", () => {
  const recipe = parseRecipe({ rules: [{ match: "a.b", ...int4 }] });
  expect(recipeFor(recipe, "a.b").kind).toBe("quantize");
  expect(recipeFor(recipe, "axb")).toEqual({ kind: "keep", reason: "no rule of the recipe matches" });
});

test("a uniform recipe keeps the output head", () => {
  const recipe = uniformRecipe(parseLinearRecipe(int4), { kv: { format: "int8", granularity: "head" } });
  expect(recipeFor(recipe, "lm_head").kind).toBe("keep");
  expect(recipeFor(recipe, "model.layers.3.mlp.up_proj").kind).toBe("quantize");
});

test("methods are a fold, a rounding, or one of each", () => {
  const names = ["absmax", "mse", "gptq", "awq", "awq+gptq", "gptq+awq"];
  const parsed = names.map((method) => parseLinearRecipe({ ...int4, method }));
  expect(parsed.map(methodName)).toEqual(["absmax", "mse", "gptq", "awq", "awq+gptq", "awq+gptq"]);
  expect(parsed.map(needsCalibration)).toEqual([false, false, true, true, true, true]);
});

test("static activations need calibration, dynamic ones do not", () => {
  const w8a8 = { scheme: "w8a8-int8", granularity: "channel", method: "absmax" };
  expect(needsCalibration(parseLinearRecipe(w8a8))).toBe(false);
  expect(parseLinearRecipe(w8a8).activations).toEqual({ format: "int8", scale: "dynamic" });
  expect(needsCalibration(parseLinearRecipe({ ...w8a8, activations: "static" }))).toBe(true);
});

test.each([
  [{ ...int4, scheme: "int5" }, 'no scheme is called "int5"'],
  [{ ...int4, granularity: "row" }, 'a granularity is tensor, channel or group:N, not "row"'],
  [{ ...int4, granularity: "group:0" }, "group:0"],
  [{ ...int4, granularity: undefined }, "scheme int4 needs a granularity"],
  [{ ...int4, method: "magic" }, 'no method is called "magic"'],
  [{ ...int4, method: "awq+smoothquant" }, "names two of a kind"],
  [{ ...int4, method: "smoothquant" }, "scheme int4 has none"],
  [{ ...int4, activations: "static" }, "scheme int4 leaves activations in 16 bit"],
  [{ scheme: "w8a8-int8", granularity: "channel", method: "absmax", activations: "often" }, 'not "often"'],
  [{ scheme: "mxfp4", granularity: "group:32", method: "absmax" }, "mxfp4 has a scale per 32 values"],
  [{ scheme: "e4m3", granularity: "channel", method: "absmax", affine: true }, "zero points are for integer schemes"],
])("%o is refused", (names, sentence) => {
  expect(() => parseLinearRecipe(names)).toThrow(sentence);
});

test("quantization-aware training is known and not built", () => {
  const parse = () => parseLinearRecipe({ ...int4, method: "qat" });
  expect(parse).toThrow(expect.objectContaining({ code: "METHOD_NOT_BUILT" }));
});

test.each([
  [undefined, "a recipe is an object with rules"],
  [[], "a recipe is an object"],
  [{ rules: [] }, "at least one rule"],
  [{ rules: {} }, "rules is a list"],
  [{ rules: [{ ...int4 }] }, "rules[0].match is a word"],
  [{ rules: [{ match: "*", ...int4, bits: 4 }] }, 'rules[0] has no field "bits"'],
  [{ rules: [{ match: "re:(", ...int4 }] }, '"re:(" is not a pattern'],
  [{ rules: [{ match: "*", ...int4 }], kv: { format: "bf16", granularity: "head" } }, 'not "bf16"'],
  [{ rules: [{ match: "*", ...int4 }], kv: { format: "int8", granularity: "channel" } }, 'not "channel"'],
  [{ rules: [{ match: "*", ...int4 }], gptq: { damping: 2 } }, "gptq.damping is a fraction"],
  [{ rules: [{ match: "*", ...int4 }], observer: "eyes" }, 'no observer is called "eyes"'],
  [{ rules: [{ match: "*", ...int4 }], speed: 1 }, 'has no field "speed"'],
])("recipe %j is refused", (data, sentence) => {
  expect(() => parseRecipe(data)).toThrow(sentence);
});
