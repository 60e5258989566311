/** Reproducible values, roughly normal, from a linear congruential generator (Numerical Recipes' constants). */
export function randomValues(seed: number, count: number): Float32Array {
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return Float32Array.from({ length: count }, () => uniform() + uniform() + uniform());
}
