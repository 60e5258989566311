import { expect, test } from "vitest";
import { normals, plainProduct, plainTranspose } from "../../test/random-matrices.ts";
import { addProduct } from "./add-product.ts";
import { reversed, rowMajor, tileAt, transposed } from "./matrix-view.ts";

const seed = 41_001;
const shapes = [
  [1, 1, 1],
  [3, 5, 2],
  [64, 64, 256],
  [65, 67, 300],
  [7, 130, 513],
] as const;

test.each(shapes)("[%i, %i] products over a depth of %i are those of the plain loop", (rows, cols, depth) => {
  const left = normals(seed, rows * depth);
  const right = normals(seed + 1, depth * cols);
  const target = new Float64Array(rows * cols).fill(2);
  addProduct({
    target: rowMajor(target, cols),
    left: rowMajor(left, depth),
    right: rowMajor(right, cols),
    rows,
    cols,
    depth,
    sign: -1,
  });
  const expected = plainProduct(left, right, rows, depth, cols);
  for (let i = 0; i < target.length; i++) expect(target[i]).toBeCloseTo(2 - expected[i]!, 10);
});

test("transposed, reversed and inner views are read and written in place", () => {
  const [rows, cols, depth] = [5, 6, 7];
  const left = normals(seed + 2, depth * rows); // read as [rows, depth]
  const square = normals(seed + 3, depth * depth);
  const target = new Float64Array(10 * 10);
  addProduct({
    target: tileAt(rowMajor(target, 10), 2, 3),
    left: transposed(rowMajor(left, rows)),
    right: reversed(rowMajor(square, depth), depth),
    rows,
    cols,
    depth,
    sign: 1,
  });
  const backwards = Float64Array.from(square).reverse();
  const expected = plainProduct(plainTranspose(left, depth, rows), backwards, rows, depth, depth);
  for (let i = 0; i < 100; i++) {
    const [row, col] = [Math.floor(i / 10) - 2, (i % 10) - 3];
    const inside = row >= 0 && row < rows && col >= 0 && col < cols;
    expect(target[i]).toBeCloseTo(inside ? expected[row * depth + col]! : 0, 12);
  }
});

test("a product without depth adds nothing", () => {
  const target = new Float64Array([3]);
  const nothing = rowMajor(new Float64Array(0), 0);
  addProduct({ target: rowMajor(target, 1), left: nothing, right: nothing, rows: 1, cols: 1, depth: 0, sign: 1 });
  expect([...target]).toEqual([3]);
});
