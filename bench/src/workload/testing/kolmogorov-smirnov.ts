/**
 * The largest distance between the empirical distribution of values and a continuous one, times sqrt(n): above
 * `kolmogorovCritical` for one in a thousand samples that do come from it, for large n (A. Kolmogorov, 1933).
 * @param values `[n]` in any order
 * @param cumulative the share at or below a value
 */
export function kolmogorovStatistic(values: readonly number[], cumulative: (value: number) => number): number {
  const sorted = Float64Array.from(values).sort();
  let distance = 0;
  for (const [i, value] of sorted.entries()) {
    const share = cumulative(value);
    distance = Math.max(distance, share - i / sorted.length, (i + 1) / sorted.length - share);
  }
  return distance * Math.sqrt(sorted.length);
}

export const kolmogorovCritical = 1.949;

export function exponentialCumulative(mean: number): (value: number) => number {
  return (value) => 1 - Math.exp(-value / mean);
}

/**
 * Of a gamma distribution of scale 1: the series of the lower incomplete gamma function (Abramowitz and Stegun, 6.5.29),
 * e^-x x^a sum_n x^n / (a (a + 1) … (a + n)) over gamma(a).
 */
export function gammaCumulative(shape: number): (value: number) => number {
  const logGammaOfShape = logGamma(shape);
  return (value) => {
    if (value <= 0) return 0;
    let [term, sum] = [1 / shape, 1 / shape];
    for (let n = 1; term > sum * 1e-15; n++) {
      term *= value / (shape + n);
      sum += term;
    }
    return Math.min(1, sum * Math.exp(shape * Math.log(value) - value - logGammaOfShape));
  };
}

/** 0.5 erfc(-z / sqrt 2): the error function is the gamma distribution of shape 1/2. */
export function normalCumulative(value: number): number {
  const half = gammaCumulative(0.5)(value ** 2 / 2) / 2;
  return value < 0 ? 0.5 - half : 0.5 + half;
}

/** Stirling's series (Abramowitz and Stegun, 6.1.41), after shifting the argument past 10. */
function logGamma(x: number): number {
  if (x < 10) return logGamma(x + 1) - Math.log(x);
  return (
    (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + 1 / (12 * x) - 1 / (360 * x ** 3) + 1 / (1260 * x ** 5)
  );
}
