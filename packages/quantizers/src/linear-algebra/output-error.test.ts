import { expect, test } from "vitest";
import { normals, plainGram, plainProduct, plainTranspose } from "../../test/random-matrices.ts";
import { rowMajor } from "./matrix-view.ts";
import { outputErrors, roundingErrors, total } from "./output-error.ts";

const seed = 41_005;

test("errors of one row are its quadratic form", () => {
  const gram = new Float64Array([2, 1, 1, 3]);
  expect([...outputErrors(new Float64Array([1, -2, 0, 1]), 2, 2, rowMajor(gram, 2))]).toEqual([10, 3]);
  expect([...roundingErrors(new Float32Array([1, 0]), new Float32Array([0, 2]), 1, 2, gram)]).toEqual([10]);
});

test(`errors through the Gram matrix are those of the outputs (seed ${seed})`, () => {
  for (const [rows, cols, tokens] of [
    [3, 20, 50],
    [9, 150, 40],
  ] as const) {
    const x = normals(seed, tokens * cols);
    const error = Float64Array.from(normals(seed + 1, rows * cols));
    const errors = outputErrors(error, rows, cols, rowMajor(plainGram(x, tokens, cols), cols));
    const outputs = plainProduct(error, plainTranspose(x, tokens, cols), rows, cols, tokens);
    for (let row = 0; row < rows; row++) {
      const expected = total(outputs.subarray(row * tokens, (row + 1) * tokens).map((each) => each ** 2));
      expect(errors[row]! / expected).toBeCloseTo(1, 12);
    }
  }
});

test("sizes that do not match are refused", () => {
  expect(() => outputErrors(new Float64Array(3), 2, 2, rowMajor(new Float64Array(4), 2))).toThrow("3 errors");
});
