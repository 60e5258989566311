import { parseWeightFormat, quantizeAbsMax } from "@kvant/formats";
import { afterEach, expect, test } from "vitest";
import { normals } from "../test/random-matrices.ts";
import { accelerate } from "./acceleration.ts";
import { addProduct, type Product } from "./linear-algebra/add-product.ts";
import { rowMajor } from "./linear-algebra/matrix-view.ts";
import { nearestCodes } from "./nearest-codes.ts";

const seed = 47_001;

afterEach(() => accelerate({}));

function product(side: number): Product {
  const operand = rowMajor(normals(seed, side * side), side);
  const target = rowMajor(new Float64Array(side * side), side);
  return { target, left: operand, right: operand, rows: side, cols: side, depth: side, sign: 1 };
}

test("an acceleration gets products that are worth a call, until it is taken back", () => {
  const taken: Product[] = [];
  accelerate({ addProduct: (each) => taken.push(each) });
  const [small, large] = [product(3), product(40)];
  addProduct(small);
  addProduct(large);
  expect(taken).toEqual([large]);
  expect(small.target.data.some((value) => value !== 0)).toBe(true);
  expect(large.target.data.every((value) => value === 0)).toBe(true);
  accelerate({});
  addProduct(large);
  expect(taken.length).toBe(1);
  expect(large.target.data.some((value) => value !== 0)).toBe(true);
});

test("weight formats that an acceleration does not take are quantized here", () => {
  const values = normals(seed + 1, 4 * 32);
  const [int8, int4] = [parseWeightFormat("int8-channel"), parseWeightFormat("int4-g32-affine")];
  const marked = { ...quantizeAbsMax(values, 4, 32, int8), tensorScale: 7 };
  accelerate({ quantizeAbsMax: (_values, _rows, _cols, { affine }) => (affine ? undefined : marked) });
  expect(nearestCodes(values, 4, 32, int8)).toBe(marked);
  expect(nearestCodes(values, 4, 32, int4)).toEqual(quantizeAbsMax(values, 4, 32, int4));
});
