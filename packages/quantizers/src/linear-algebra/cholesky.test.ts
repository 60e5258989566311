import { expect, test } from "vitest";
import { normals, plainGram, plainProduct, plainTranspose } from "../../test/random-matrices.ts";
import { cholesky, choleskyInverse } from "./cholesky.ts";

const seed = 41_003;
const positiveDefinite = (n: number) => plainGram(normals(seed + n, (n + 50) * n), n + 50, n);

test("a factor of two by two is the one by hand", () => {
  expect([...cholesky(new Float64Array([4, 2, 2, 10]), 2)!]).toEqual([2, 0, 1, 3]);
  const inverse = choleskyInverse(new Float64Array([4, 2, 2, 10]), 2)!;
  for (const [i, value] of [10 / 36, -2 / 36, -2 / 36, 4 / 36].entries()) expect(inverse[i]).toBeCloseTo(value, 14);
});

test.each([1, 5, 64, 65, 150])(`factors of order %i multiply back, and inverses to one (seed ${seed})`, (n) => {
  const matrix = positiveDefinite(n);
  const factor = cholesky(matrix, n)!;
  const back = plainProduct(factor, plainTranspose(factor, n, n), n, n, n);
  const identity = plainProduct(matrix, choleskyInverse(matrix, n)!, n, n, n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      expect(back[i * n + j]).toBeCloseTo(matrix[i * n + j]!, 9);
      expect(identity[i * n + j]).toBeCloseTo(i === j ? 1 : 0, 9);
      if (j > i) expect(factor[i * n + j]).toBe(0);
    }
  }
});

test("what is not positive definite has no factor", () => {
  expect(cholesky(new Float64Array([1, 2, 2, 1]), 2)).toBeUndefined();
  expect(choleskyInverse(new Float64Array([0]), 1)).toBeUndefined();
  expect(cholesky(new Float64Array([Number.NaN]), 1)).toBeUndefined();
  expect(cholesky(new Float64Array([Infinity]), 1)).toBeUndefined();
});
