import { expect, test } from "vitest";
import { levelSeed } from "./level-seed.ts";

test("levels of sweeps whose seeds follow each other have seeds of their own", () => {
  const seeds = Array.from({ length: 100 }, (_, seed) =>
    Array.from({ length: 20 }, (_, level) => levelSeed(seed, level)),
  );
  expect(new Set(seeds.flat()).size).toBe(2000);
  expect(seeds.map(([first]) => first)).toEqual(Array.from({ length: 100 }, (_, seed) => seed));
});

test("seeds of levels stay in the range of seeds up to its end", () => {
  for (let level = 0; level < 50; level++) {
    const seed = levelSeed(2 ** 32 - 1, level);
    expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32, `level ${level}: ${seed}`).toBe(true);
    expect(levelSeed(2 ** 32 - 1, level)).toBe(seed);
  }
});
