import { dequantize, parseWeightFormat, quantizeAbsMax } from "@kvant/formats";
import { nativeInfo, nativeQuantizeMath, type QuantizeMath } from "@kvant/kernels";
import { Random } from "@kvant/kernels/conformance";
import {
  accelerate,
  acceleration,
  addGram,
  addProduct,
  cholesky,
  divideColumns,
  divideRows,
  type MatrixView,
  type Product,
  quantizationError,
  quantizeGptq,
  quantizeWeight,
  reversed,
  rowMajor,
  scaleColumns,
  scaleRows,
  tileAt,
  transposed,
} from "@kvant/quantizers";
import { afterEach, expect, test } from "vitest";
import { accelerateQuantizers } from "./accelerate-quantizers.ts";

const seed = 52_001;
const maths = nativeInfo().tiers.flatMap((tier) => {
  return [1, 2, 4].map((threads) => ({ name: `${tier} on ${threads} threads`, math: mathOf({ tier, threads }) }));
});

afterEach(() => accelerate({}));

function mathOf(options: { readonly tier: string; readonly threads: number }): QuantizeMath {
  const { math, reason } = nativeQuantizeMath(options);
  if (math === undefined) throw new Error(reason);
  return math;
}

/** A matrix [rows, cols] inside a larger array, row-major, transposed or backwards, float32 or float64. */
function randomView(random: Random, rows: number, cols: number, double: boolean): MatrixView {
  const gap = random.integer(0, 2);
  const count = (rows + gap + 1) * (cols + gap + 1) + 5;
  const values = random.normals(count);
  const data = double ? Float64Array.from(values, (value) => value / 3) : values;
  const isTransposed = random.integer(0, 1) === 1;
  const [height, width] = isTransposed ? [cols, rows] : [rows, cols];
  const side = Math.max(rows, cols);
  let view: MatrixView = { ...rowMajor(data, width + gap), offset: random.integer(0, 4) };
  if (random.integer(0, 2) === 0) {
    // Backwards: the last element lies first.
    const last = view.offset + (height - 1) * view.rowStride + (width - 1);
    view = rows === cols ? reversed({ ...view, rowStride: side + gap }, side) : { ...view, offset: last };
    if (rows !== cols) view = { ...view, rowStride: -view.rowStride, colStride: -1 };
  }
  return isTransposed ? transposed(view) : view;
}

function randomProduct(random: Random, [rows, cols, depth]: readonly [number, number, number]): Product {
  return {
    target: randomView(random, rows, cols, true) as MatrixView<Float64Array>,
    left: randomView(random, rows, depth, random.integer(0, 1) === 1),
    right: randomView(random, depth, cols, random.integer(0, 1) === 1),
    rows,
    cols,
    depth,
    sign: random.integer(0, 1) === 1 ? 1 : -1,
    lowerOnly: random.integer(0, 1) === 1,
  };
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

function afterProduct(product: Product, add: (product: Product) => void): Float64Array {
  const data = product.target.data.slice();
  add({ ...product, target: { ...product.target, data } });
  return data;
}

const shapes = [
  [1, 1, 1],
  [3, 5, 7],
  [64, 64, 256],
  [65, 63, 257],
  [130, 200, 600],
  [17, 301, 33],
  [190, 1, 511],
  [300, 300, 90],
] as const;

test(`products of views have the bits of TypeScript, and nothing else is written (seed ${seed})`, () => {
  const random = new Random(seed);
  const more = Array.from({ length: 20 }, () => {
    return [random.integer(1, 150), random.integer(1, 150), random.integer(0, 699)] as const;
  });
  for (const shape of [...shapes, ...more]) {
    const product = randomProduct(random, shape);
    const expected = bytesOf(afterProduct(product, addProduct));
    for (const { math, name } of maths) {
      expect(expected.equals(bytesOf(afterProduct(product, math.addProduct))), `${shape} ${name}`).toBe(true);
    }
  }
});

test("infinities and NaN come out where they do in TypeScript", () => {
  const product = randomProduct(new Random(seed + 1), [40, 40, 300]);
  for (const [i, value] of [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, -0].entries()) {
    product.left.data[product.left.offset + i * product.left.rowStride] = value;
  }
  const expected = afterProduct(product, addProduct);
  for (const { math, name } of maths) expect(afterProduct(product, math.addProduct), name).toEqual(expected);
});

test(`methods have the same bits accelerated as not (seed ${seed})`, () => {
  const [rows, cols, tokens] = [70, 200, 500];
  const random = new Random(seed + 2);
  const x = random.normals(tokens * cols);
  const values = random.normals(rows * cols);
  const results = () => {
    const gram = new Float64Array(cols * cols);
    addGram(x, tokens, cols, gram);
    return {
      gram,
      factor: cholesky(gram, cols),
      gptq: quantizeGptq(values, rows, cols, gram, parseWeightFormat("int4-g64"), { actOrder: true }),
      absmax: quantizeWeight("absmax", values, rows, cols, parseWeightFormat("e4m3-channel")),
      affine: quantizeWeight("absmax", values, rows, cols, parseWeightFormat("int4-g32-affine")),
    };
  };
  const expected = results();
  expect(accelerateQuantizers(2)).toMatchObject({ native: true, threads: 2, tier: nativeInfo().tier });
  expect(acceleration().addProduct).toBeDefined();
  expect(results()).toEqual(expected);
});

const coded = [
  "int8-tensor",
  "int4-channel",
  "int4-g32-affine",
  "int8-channel-affine",
  "e4m3-channel",
  "mxfp4",
  "nvfp4",
];

test.each(coded)(`values and errors of %s have the bits of TypeScript (seed ${seed})`, (name) => {
  const random = new Random(seed + 3);
  for (const [rows, cols] of [
    [1, 1],
    [5, 33],
    [70, 200],
    [0, 8],
  ] as const) {
    const values = random.normals(rows * cols).map((value, i) => (i % 17 === 0 ? 0 : value * 4 ** (i % 3)));
    const tensor = quantizeAbsMax(values, rows, cols, parseWeightFormat(name));
    const others = values.map((value, i) => [value * 1.5, Number.NaN, Number.POSITIVE_INFINITY][i % 23] ?? value);
    const restored = dequantize(tensor);
    const expected = [quantizationError(values, tensor), quantizationError(others, tensor)];
    for (const { math, name: where } of maths) {
      accelerate(math);
      const place = `[${rows}, ${cols}] ${where}`;
      expect(bytesOf(math.dequantize(tensor)!).equals(bytesOf(restored)), place).toBe(true);
      expect([quantizationError(values, tensor), quantizationError(others, tensor)], place).toEqual(expected);
      accelerate({});
    }
  }
});

test(`values are counted as in TypeScript (seed ${seed})`, () => {
  const random = new Random(seed + 4);
  for (const count of [0, 1, 5000, 100_000]) {
    const before = random.normals(count);
    const after = before.map((value, i) => (i % 31 === 7 ? Number.NaN : Math.round(value)));
    const reach = [...before, ...after].reduce((most, value) => Math.max(most, Math.abs(value) || 0), 0);
    const counted = (values: Float32Array) => {
      const counts = new Float64Array(11);
      for (const value of values) {
        const bin = Math.floor((value + reach) * (reach === 0 ? 0 : 11 / (2 * reach)));
        if (!Number.isNaN(bin)) counts[Math.min(10, Math.max(0, bin))]!++;
      }
      return counts;
    };
    const expected = { reach, before: counted(before), after: counted(after) };
    for (const { math, name } of maths)
      expect(math.countValues(before, after, 11), `${count} ${name}`).toEqual(expected);
  }
});

test(`factors of rows and columns and a look for NaN have the results of TypeScript (seed ${seed})`, () => {
  const random = new Random(seed + 5);
  for (const [rows, cols] of [
    [1, 1],
    [3, 70],
    [200, 333],
  ] as const) {
    const values = random.normals(rows * cols);
    const factors = random.normals(Math.max(rows, cols)).map((value) => Math.exp(3 * value));
    const columns = factors.subarray(0, cols);
    const perRow = factors.subarray(0, rows);
    const results = () =>
      [
        scaleColumns(values, rows, cols, columns),
        divideColumns(values, rows, cols, columns),
        scaleRows(values, rows, cols, perRow),
        divideRows(values, rows, cols, perRow),
      ].map(bytesOf);
    const expected = results();
    for (const { math, name } of maths) {
      accelerate(math);
      expect(results(), `[${rows}, ${cols}] ${name}`).toEqual(expected);
      accelerate({});
      expect(math.allFinite(values), name).toBe(true);
      for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const spoilt = values.slice();
        spoilt[spoilt.length - 1] = wrong;
        expect(math.allFinite(spoilt), `${wrong} ${name}`).toBe(false);
      }
    }
  }
});

test("scales that do not lie along rows are left to TypeScript", () => {
  const { math } = maths[0]!;
  const byColumn = { format: "int8", granularity: { kind: "channel", axis: 1 }, affine: false } as const;
  const values = new Float32Array(32).fill(1);
  const tensor = quantizeAbsMax(values, 4, 8, byColumn);
  expect(math.dequantize(tensor)).toBeUndefined();
  expect(math.sumErrors(values, tensor, values)).toBeUndefined();
});

test("views that reach beyond their arrays are refused", () => {
  const math = mathOf({ tier: nativeInfo().tier, threads: 1 });
  const [rows, cols, depth] = [3, 4, 5];
  const product: Product = {
    target: rowMajor(new Float64Array(12), cols),
    left: rowMajor(new Float32Array(15), depth),
    right: rowMajor(new Float64Array(20), cols),
    rows,
    cols,
    depth,
    sign: 1,
  };
  math.addProduct(product);
  const wrong: [Partial<Record<keyof Product, unknown>>, string][] = [
    [{ target: tileAt(product.target, 0, 1) }, "the reach of product.target [3, 4] is 12, must be 0 to 11"],
    [{ left: { ...product.left, colStride: -1 } }, "the reach of product.left [3, 5] is -4, must be 0 to 14"],
    [{ right: { ...product.right, offset: -1 } }, "product.right.offset is -1"],
    [{ right: { ...product.right, rowStride: 2 ** 40 } }, "product.right.rowStride is 1099511627776"],
    [{ depth: 6 }, "the reach of product.left [3, 6]"],
    [{ rows: 0.5 }, "product.rows is 0.5"],
    [{ cols: -1 }, "product.cols is -1"],
    [{ sign: 2 }, "product.sign is 2"],
    [{ target: rowMajor(new Float32Array(12), cols) }, "product.target.data must be a Float64Array"],
    [{ left: { ...product.left, data: [1, 2] } }, "product.left.data must be a Float32Array or a Float64Array"],
    [{ right: undefined }, "product.right must be an object"],
  ];
  for (const [change, sentence] of wrong) {
    const refused = () => math.addProduct({ ...product, ...change } as Product);
    expect(refused).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(refused).toThrow(sentence);
  }
});
