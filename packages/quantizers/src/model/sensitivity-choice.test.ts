import { expect, test } from "vitest";
import { uniforms } from "../uniforms.ts";
import { chooseOptions, type StorageOption } from "./sensitivity-choice.ts";

const seed = 48_501;

/** The least sum of losses within the budget, by trying everything. */
function exhaustive(modules: readonly (readonly StorageOption[])[], budget: number): number {
  const [first, ...rest] = modules;
  if (first === undefined) return budget >= 0 ? 0 : Infinity;
  return Math.min(...first.map(({ bits, loss }) => loss + exhaustive(rest, budget - bits)));
}

const sumOf = (modules: readonly (readonly StorageOption[])[], choices: readonly number[], key: keyof StorageOption) =>
  modules.reduce((sum, options, module) => sum + options[choices[module]!]![key], 0);

test("the budget goes where a bit takes away the most loss", () => {
  const modules = [
    [
      { bits: 4, loss: 1 },
      { bits: 8, loss: 0.1 },
    ],
    [
      { bits: 4, loss: 9 },
      { bits: 8, loss: 0.5 },
    ],
    [
      { bits: 40, loss: 20 },
      { bits: 80, loss: 2 },
    ],
  ];
  expect(chooseOptions(modules, 48)).toEqual([0, 0, 0]);
  expect(chooseOptions(modules, 52)).toEqual([0, 1, 0]);
  // The large module's step is worth more per bit than the first one's, and does not fit.
  expect(chooseOptions(modules, 91)).toEqual([1, 1, 0]);
  expect(chooseOptions(modules, 92)).toEqual([0, 1, 1]);
  expect(chooseOptions(modules, 1000)).toEqual([1, 1, 1]);
});

test("options that cost more and lose more, or lie above the hull, are not taken", () => {
  const options = [
    { bits: 16, loss: 0 },
    { bits: 4, loss: 8 },
    { bits: 5, loss: 9 },
    { bits: 8, loss: 7 },
    { bits: 4, loss: 8.5 },
  ];
  expect(chooseOptions([options], 8)).toEqual([1]);
  expect(chooseOptions([options], 16)).toEqual([0]);
});

test("equal modules are served in order", () => {
  const options = [
    { bits: 2, loss: 2 },
    { bits: 3, loss: 1 },
  ];
  expect(chooseOptions([options, options, options], 8)).toEqual([1, 1, 0]);
});

test("a budget below the smallest options has no answer, one at them has", () => {
  const options = [{ bits: 7, loss: 1 }];
  expect(chooseOptions([options, options], 13)).toBeUndefined();
  expect(chooseOptions([options, options], Number.NaN)).toBeUndefined();
  expect(chooseOptions([options, options], 14)).toEqual([0, 0]);
});

test(`budgets hold, and the loss is within one step of the best there is (seed ${seed})`, () => {
  const uniform = uniforms(seed);
  for (let round = 0; round < 60; round++) {
    const modules = Array.from({ length: 5 }, () =>
      Array.from({ length: 3 }, () => ({ bits: 1 + Math.floor(uniform() * 20), loss: uniform() })),
    );
    const least = modules.reduce((sum, options) => sum + Math.min(...options.map(({ bits }) => bits)), 0);
    const budget = least + Math.floor(uniform() * 30);
    const choices = chooseOptions(modules, budget)!;
    expect(sumOf(modules, choices, "bits")).toBeLessThanOrEqual(budget);
    const loss = sumOf(modules, choices, "loss");
    // No step takes away more than 1.
    expect(loss - exhaustive(modules, budget)).toBeLessThan(1);
    expect(loss).toBeGreaterThanOrEqual(exhaustive(modules, budget));
  }
});
