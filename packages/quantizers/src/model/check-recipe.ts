import { KvantError } from "@kvant/core";
import { partFold } from "./fold-part.ts";
import { needsCalibration } from "./linear-recipe.ts";
import type { QuantizeRuntime } from "./quantize-runtime.ts";
import { type Recipe, recipeFor } from "./recipe.ts";

/**
 * Refuses what a recipe cannot do to a model before any layer has been run.
 * @throws KvantError INVALID_ARGUMENT for a recipe that needs calibration where there is none, and for linear layers that read the
 * same activations and want different folds
 */
export function checkRecipe(
  runtime: Pick<QuantizeRuntime, "layerCount" | "parts">,
  recipe: Recipe,
  isCalibrated: boolean,
): void {
  for (let layer = 0; layer < runtime.layerCount; layer++) {
    for (const { modules } of runtime.parts(layer)) {
      const linears = modules.flatMap((module) => {
        const answer = recipeFor(recipe, module);
        return answer.kind === "keep" ? [] : [{ module, recipe: answer.linear }];
      });
      partFold(linears);
      const wanting = linears.find((linear) => needsCalibration(linear.recipe));
      if (!isCalibrated && wanting !== undefined) throw calibrationAbsent(`the recipe for "${wanting.module}" needs`);
    }
  }
  if (!isCalibrated && recipe.kv !== undefined) throw calibrationAbsent("static KV scales need");
}

function calibrationAbsent(what: string): KvantError {
  return new KvantError("INVALID_ARGUMENT", `${what} calibration text; name files with --calibration`, {
    field: "calibration",
  });
}
