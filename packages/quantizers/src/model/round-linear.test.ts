import { packQuantized, storableTensor } from "@kvant/checkpoint";
import { dequantize, quantizeAbsMax } from "@kvant/formats";
import { expect, test } from "vitest";
import { correlated, normals } from "../../test/random-matrices.ts";
import { roundingErrors, total } from "../linear-algebra/output-error.ts";
import { type LinearRecipe, parseLinearRecipe } from "./linear-recipe.ts";
import { PartCollector } from "./part-statistics.ts";
import { roundLinear, roundsToNearest } from "./round-linear.ts";

const seed = 48_701;
const [rows, cols, tokens] = [6, 32, 50];
const collector = new PartCollector(cols, tokens);
collector.add(correlated(seed, tokens, cols, 4), tokens);
const statistics = collector.statistics();

function round(recipe: LinearRecipe, values: Float32Array) {
  const linear = { module: "up_proj", rows, recipe };
  return roundLinear({ linear, values, cols, statistics, gptq: { damping: 0.01, actOrder: false } });
}

test(`NVFP4 tensors are such as a checkpoint holds, whatever their tensor scale (seed ${seed})`, () => {
  const nvfp4 = ["absmax", "gptq", "awq"].map((method) => parseLinearRecipe({ scheme: "nvfp4", method }));
  let moved = 0;
  for (let salt = 1; salt < 40; salt++) {
    const values = normals(seed + salt, rows * cols);
    const plain = quantizeAbsMax(values, rows, cols, nvfp4[0]!.weightFormat);
    if (storableTensor(plain) !== plain) moved++;
    for (const recipe of nvfp4) expect(() => packQuantized("up_proj", round(recipe, values).tensor)).not.toThrow();
  }
  expect(moved).toBeGreaterThan(0);
});

test.each(["gptq", "awq"])(
  `the errors that %s measures on its way are those of its tensor (seed ${seed})`,
  (method) => {
    const values = normals(seed + 1, rows * cols);
    const recipe = parseLinearRecipe({ scheme: "int3", granularity: "group:8", method });
    const { outputErrors, notes } = round(recipe, values);
    const nearest = quantizeAbsMax(values, rows, cols, recipe.weightFormat);
    const errorOf = (rounded: Float32Array) =>
      total(roundingErrors(values, rounded, rows, cols, statistics.gram.read()));
    expect(outputErrors!.nearest).toBeCloseTo(errorOf(dequantize(nearest)), 8);
    expect(outputErrors!.own).toBeCloseTo(errorOf(dequantize(round(recipe, values).tensor)), 8);
    expect(outputErrors!.own).toBeLessThan(outputErrors!.nearest);
    expect(notes).toHaveLength(1);
  },
);

test("what rounds to nearest is known by its recipe", () => {
  const int8 = { scheme: "w8a8-int8", granularity: "channel" };
  const methods = ["absmax", "smoothquant", "awq", "gptq", "mse", "awq+mse"];
  const answers = methods.map((method) => roundsToNearest(parseLinearRecipe({ ...int8, method })));
  expect(answers).toEqual([true, true, false, false, false, false]);
});
