import { expect, test } from "vitest";
import { normals, plainGram, plainProduct, plainTranspose } from "../../test/random-matrices.ts";
import { choleskyInverse } from "./cholesky.ts";
import { inverseCholeskyUpper } from "./inverse-cholesky.ts";

const seed = 41_004;

test.each([1, 7, 64, 129])(`the factor of order %i squares to the inverse (seed ${seed})`, (n) => {
  const hessian = plainGram(normals(seed + n, 3 * n * n), 3 * n, n);
  const { upper, damping } = inverseCholeskyUpper(hessian, n, 0);
  expect(damping).toBe(0);
  const inverse = choleskyInverse(hessian, n)!;
  const squared = plainProduct(plainTranspose(upper, n, n), upper, n, n, n);
  for (let i = 0; i < n * n; i++) {
    expect(Math.abs(squared[i]! - inverse[i]!)).toBeLessThan(1e-12 * (1 + Math.abs(inverse[i]!)));
    if (i % n < Math.floor(i / n)) expect(upper[i]).toBe(0);
  }
});

test("damping adds a fraction of the mean diagonal", () => {
  const { upper } = inverseCholeskyUpper(new Float64Array([3, 0, 0, 5]), 2, 0.25);
  expect([...upper].map((each) => each + 0)).toEqual([1 / 2, 0, 0, 1 / Math.sqrt(6)]);
});

test("dead columns get diagonal 1 and do not count into the mean", () => {
  const { upper, deadColumns } = inverseCholeskyUpper(new Float64Array([0, 0, 0, 15e-6]), 2, 1);
  expect([...deadColumns]).toEqual([1, 0]);
  expect(upper[0]).toBeCloseTo(1, 4);
  expect(upper[3]! ** -2).toBeCloseTo(30e-6, 12);
});

test("a layer that never saw anything has the identity for its Hessian", () => {
  const { upper } = inverseCholeskyUpper(new Float64Array(4), 2, 0);
  expect([...upper].map((each) => each + 0)).toEqual([1, 0, 0, 1]);
});

test("damping rises until a singular matrix can be factored, and says so", () => {
  const singular = new Float64Array([1, 1, 1, 1]);
  expect(inverseCholeskyUpper(singular, 2, 0).damping).toBe(1e-6);
  expect(inverseCholeskyUpper(singular, 2, 0.01).damping).toBe(0.01);
  // Not positive semidefinite: eigenvalues 4 and -2, which a damping of 2 / 1 mean diagonals would just lift to 0.
  expect(inverseCholeskyUpper(new Float64Array([1, 3, 3, 1]), 2, 0.01).damping).toBeCloseTo(10, 12);
});

test("what no damping helps is refused", () => {
  expect(() => inverseCholeskyUpper(new Float64Array([1, Number.NaN, Number.NaN, 1]), 2)).toThrow(
    "not positive definite",
  );
  expect(() => inverseCholeskyUpper(new Float64Array([-1]), 1)).toThrow("diagonal element 0 of the Hessian is -1");
  expect(() => inverseCholeskyUpper(new Float64Array(3), 2)).toThrow("3 numbers are not a Hessian [2, 2]");
  expect(() => inverseCholeskyUpper(new Float64Array(1), 1, -1)).toThrow("damping is a fraction");
});
