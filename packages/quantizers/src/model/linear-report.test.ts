import { dequantize, quantizeAbsMax, weightFormatName } from "@kvant/formats";
import { expect, test } from "vitest";
import { correlated, normals } from "../../test/random-matrices.ts";
import { quantizationError } from "../quantization-error.ts";
import { parseLinearRecipe } from "./linear-recipe.ts";
import { linearReport } from "./linear-report.ts";
import { PartCollector } from "./part-statistics.ts";

const seed = 48_201;
const [rows, cols, tokens] = [7, 20, 33];
const original = normals(seed, rows * cols);
const x = correlated(seed + 1, tokens, cols, 4);
const scales = Float32Array.from({ length: cols }, (_, col) => 0.5 + (col % 4));
const folded = original.map((value, i) => value * scales[i % cols]!);
const recipe = parseLinearRecipe({ scheme: "int3", granularity: "group:8", method: "absmax" });
const { weightFormat } = recipe;
const linear = { module: "model.layers.0.mlp.up_proj", rows, recipe };

function statisticsOf(activations: Float32Array) {
  const collector = new PartCollector(cols, tokens);
  collector.add(activations, tokens);
  return collector.statistics();
}

/** `||X (W - Q)^T|| / ||X W^T||` with the activations themselves. */
function naiveOutputError(activations: Float32Array, weights: Float32Array, restored: Float32Array): number {
  let [error, energy] = [0, 0];
  for (let token = 0; token < tokens; token++) {
    for (let row = 0; row < rows; row++) {
      let [lost, whole] = [0, 0];
      for (let col = 0; col < cols; col++) {
        const [input, weight] = [activations[token * cols + col]!, weights[row * cols + col]!];
        lost += input * (weight - restored[row * cols + col]!);
        whole += input * weight;
      }
      error += lost * lost;
      energy += whole * whole;
    }
  }
  return Math.sqrt(error / energy);
}

const before = statisticsOf(x);
const dividedX = x.map((value, i) => value / scales[i % cols]!);
const after = statisticsOf(dividedX);
const nearest = quantizeAbsMax(original, rows, cols, weightFormat);
const tensor = quantizeAbsMax(folded, rows, cols, weightFormat);
const outcome = { linear, tensor, notes: ["a note"], outputErrors: undefined };

test(`output errors are those of explicit activations, before and after a fold (seed ${seed})`, () => {
  const calibration = { before, after, original };
  const report = linearReport({ ...outcome, values: folded, calibration });
  expect(report.outputRelativeError).toBeCloseTo(naiveOutputError(dividedX, folded, dequantize(tensor)), 6);
  expect(report.roundToNearestOutputError).toBeCloseTo(naiveOutputError(x, original, dequantize(nearest)), 6);
  expect(report.outputRelativeError).not.toBeCloseTo(report.roundToNearestOutputError!, 3);
});

test(`what rounds to nearest is its own comparison (seed ${seed})`, () => {
  const calibration = { before, after: before, original };
  const report = linearReport({ ...outcome, tensor: nearest, values: original, calibration });
  expect(report.outputRelativeError).toBeCloseTo(naiveOutputError(x, original, dequantize(nearest)), 6);
  expect(report.roundToNearestOutputError).toBe(report.outputRelativeError);
});

test(`errors that the method has measured are taken over where they compare (seed ${seed})`, () => {
  const energy = linearReport({
    ...outcome,
    tensor: nearest,
    values: original,
    calibration: { before, after: before, original },
    outputErrors: { own: 4, nearest: 9 },
  });
  expect(energy.roundToNearestOutputError! / energy.outputRelativeError!).toBeCloseTo(1.5, 12);
  // After a fold, round to nearest of what was folded is not round to nearest of the original.
  const calibration = { before, after, original };
  const report = linearReport({ ...outcome, values: folded, calibration, outputErrors: { own: 4, nearest: 9 } });
  expect(report.roundToNearestOutputError).toBeCloseTo(naiveOutputError(x, original, dequantize(nearest)), 6);
});

test(`without calibration there are figures of weights alone (seed ${seed})`, () => {
  const report = linearReport({ ...outcome, values: folded, calibration: undefined });
  expect(report).toMatchObject({
    name: linear.module,
    rows,
    cols,
    weightFormat: weightFormatName(weightFormat),
    activations: "16 bit",
    method: "absmax",
    codeBits: 3,
    weight: quantizationError(folded, tensor),
    outputRelativeError: null,
    roundToNearestOutputError: null,
    activationsBefore: null,
    activationsAfter: null,
    activationScale: null,
    notes: ["a note"],
  });
  // Three groups a row, the last one shorter; codes of three bits lie in nibbles.
  expect(report.bitsPerWeight).toBe((4 * cols + 3 * 32) / cols);
  const counted = (counts: readonly number[]) => counts.reduce((a, b) => a + b);
  expect(counted(report.weightsBefore.counts)).toBe(rows * cols);
  expect(counted(report.weightsAfter.counts)).toBe(rows * cols);
  expect(counted(report.scales.counts)).toBe(3 * rows);
});

test("weights that are met exactly have no error, even where nothing flows", () => {
  const exact = Float32Array.of(7, -7, 1, 0);
  const int4 = parseLinearRecipe({ scheme: "int4", granularity: "channel", method: "mse", affine: false });
  const nothing = new PartCollector(2, 1);
  nothing.add(new Float32Array(2), 1);
  const statistics = nothing.statistics();
  const report = linearReport({
    linear: { module: "o", rows: 2, recipe: int4 },
    tensor: quantizeAbsMax(exact, 2, 2, int4.weightFormat),
    values: exact,
    notes: [],
    outputErrors: undefined,
    calibration: { before: statistics, after: statistics, original: exact },
  });
  expect([report.outputRelativeError, report.roundToNearestOutputError]).toEqual([0, 0]);
  expect(report.codeBits).toBeUndefined();
});
