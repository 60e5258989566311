import { expect, test } from "vitest";
import { type Cluster, meanInterval } from "./mean-interval.ts";
import { studentQuantile } from "./student-quantile.ts";

test("the quantiles are those of the printed tables", () => {
  const table = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
  for (const [i, quantile] of table.entries()) {
    expect(Math.abs(studentQuantile(i + 1) / quantile - 1), `${i + 1} degrees`).toBeLessThan(0.003);
  }
  expect(studentQuantile(30)).toBeCloseTo(2.042, 3);
  expect(studentQuantile(1e9)).toBeCloseTo(1.95996, 5);
});

test("the interval of single values is the one of the textbook", () => {
  // Mean 5, sample variance (9 + 1 + 1 + 9) / 3, error sqrt(20 / 3 / 4) = 1.29099, three degrees: 5 -+ 3.182 * 1.29099.
  const { mean, low, high } = meanInterval([2, 4, 6, 8].map((sum) => ({ count: 1, sum })));
  expect(mean).toBe(5);
  expect(Math.abs(high! - 9.108)).toBeLessThan(0.012);
  expect(high! - mean).toBeCloseTo(mean - low!, 12);
});

test("clusters weigh by their counts", () => {
  // Mean 6 / 6 = 1; residuals 4 - 3 and 2 - 3; error sqrt(2 / 1 * 2) / 6 = 1 / 3; one degree: 12.7062 / 3.
  const { mean, low, high } = meanInterval([
    { count: 3, sum: 4 },
    { count: 3, sum: 2 },
  ]);
  expect([mean, low, high]).toEqual([1, expect.closeTo(1 - 4.2354, 4), expect.closeTo(1 + 4.2354, 4)]);
  // Mean 8 / 4 = 2 whatever the counts; no cluster deviates from it.
  const even = meanInterval([
    { count: 1, sum: 2 },
    { count: 3, sum: 6 },
  ]);
  expect(even).toEqual({ mean: 2, low: 2, high: 2 });
});

test("one cluster has a mean and no interval", () => {
  expect(meanInterval([{ count: 4, sum: 2 }])).toEqual({ mean: 0.5, low: null, high: null });
});

const seed = Number(process.env.KVANT_SEED ?? 20_240_611);

test.each([5, 30])(
  `of %i clusters of correlated values 95 percent of the intervals hold the true mean (seed ${seed})`,
  (clusterCount) => {
    const random = randomSource(seed + clusterCount);
    const normal = () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
    const [rounds, truth] = [4000, 0.3];
    let holding = 0;
    for (let round = 0; round < rounds; round++) {
      const clusters = Array.from({ length: clusterCount }, (): Cluster => {
        const shared = truth + 0.5 * normal();
        const count = 40 + Math.floor(20 * random());
        const sum = Array.from({ length: count }, () => shared + normal()).reduce((a, b) => a + b, 0);
        return { count, sum };
      });
      const { low, high } = meanInterval(clusters);
      if (low! <= truth && truth <= high!) holding++;
    }
    // Four standard deviations of a share of 95 % of 4000, which is 0.34 %.
    expect(Math.abs(holding / rounds - 0.95)).toBeLessThan(0.014);
  },
);

/** Uniform over (0, 1): xorshift32 (G. Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8, 2003). */
function randomSource(start: number): () => number {
  let state = start >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + 0.5) / 2 ** 32;
  };
}
