import { RandomSource } from "./random-source.ts";

/**
 * The seed of one level of a sweep: the first has the sweep's own, so that a load of one level and the first of many ask the same. The
 * others are drawn from it. (Counting up instead would give the second level of seed 5 the requests of seed 6.)
 */
export function levelSeed(seed: number, level: number): number {
  return level === 0 ? seed : new RandomSource(seed, "level", level).below(2 ** 32);
}
