import { expect, test } from "vitest";
import { normals, plainGram } from "../../test/random-matrices.ts";
import { addGram } from "./gram.ts";

const seed = 41_002;

test("a Gram matrix of two tokens is the sum of their outer products", () => {
  const gram = new Float64Array(4);
  addGram(new Float32Array([1, 2, 3, -1]), 2, 2, gram);
  expect([...gram]).toEqual([10, -1, -1, 5]);
});

test(`batches add up to an exactly symmetric matrix, whatever the width (seed ${seed})`, () => {
  for (const width of [1, 31, 64, 97, 130]) {
    const x = normals(seed + width, 300 * width);
    const gram = new Float64Array(width * width);
    addGram(x.subarray(0, 10 * width), 10, width, gram);
    addGram(x.subarray(10 * width), 290, width, gram);
    const expected = plainGram(x, 300, width);
    for (let i = 0; i < width; i++) {
      for (let j = 0; j < width; j++) {
        expect(gram[i * width + j]).toBeCloseTo(expected[i * width + j]!, 9);
        expect(gram[i * width + j]).toBe(gram[j * width + i]);
      }
    }
  }
});

test("activations that are no numbers are refused", () => {
  const x = new Float32Array([1, 2, 3, Number.NaN]);
  expect(() => addGram(x, 2, 2, new Float64Array(4))).toThrow("activations in channel 1 add up to NaN");
});

test("lengths that do not match are refused", () => {
  expect(() => addGram(new Float32Array(5), 2, 2, new Float64Array(4))).toThrow("5 activations and 4 sums");
});
