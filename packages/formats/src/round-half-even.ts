// Doubles near 1.5 * 2^52 are one apart, so adding this rounds to an integer in the processor's own mode: nearest, ties to
// even. Math.round would take ties upwards.
const integerSpacing = 1.5 * 2 ** 52;

/** The nearest integer, ties to even, for |value| < 2^51. NaN stays NaN. */
export function roundHalfEven(value: number): number {
  return value + integerSpacing - integerSpacing;
}
