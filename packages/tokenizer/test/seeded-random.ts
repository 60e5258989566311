export interface SeededRandom {
  /** Uniform in [0, 1). */
  unit(): number;
  /** Uniform integer in `0 .. end - 1`. */
  below(end: number): number;
  pick<T>(items: readonly T[]): T;
}

/** A small generator (mulberry32) for tests: the same seed gives the same run on every machine. */
export function seededRandom(seed: number): SeededRandom {
  let state = seed | 0;
  const unit = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end: number): number => Math.floor(unit() * end);
  return { unit, below, pick: (items) => items[below(items.length)]! };
}
