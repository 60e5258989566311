import { dequantize, parseWeightFormat, quantizeAbsMax, type WeightFormat, weightFormatName } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { correlated, normals, plainGram } from "../../test/random-matrices.ts";
import { codeGrid } from "../grid/code-grid.ts";
import { checkedMagnitude, matrixScales, wholeRangeScale } from "../grid/group-scales.ts";
import { choleskyInverse } from "../linear-algebra/cholesky.ts";
import { roundingErrors, total } from "../linear-algebra/output-error.ts";
import { uniforms } from "../uniforms.ts";
import { gptqFactor } from "./gptq-factor.ts";
import { type GptqOptions, quantizeGptq } from "./quantize-gptq.ts";

const seed = 43_001;
const group = (format: WeightFormat["format"], size: number, affine = false): WeightFormat => ({
  format,
  granularity: { kind: "group", size },
  affine,
});
const weightFormats: WeightFormat[] = [
  parseWeightFormat("int8-channel"),
  parseWeightFormat("int4-tensor"),
  parseWeightFormat("int4-channel"),
  parseWeightFormat("int4-channel-affine"),
  parseWeightFormat("e4m3-channel"),
  parseWeightFormat("mxfp4"),
  parseWeightFormat("nvfp4"),
  group("int4", 24),
  group("int4", 32, true),
  group("int3", 48),
  group("int2", 16),
  group("e2m1", 40),
  { format: "int3", granularity: { kind: "tile", rows: 4, cols: 32 }, affine: false },
];
const named = weightFormats.map((each) => [weightFormatName(each), each] as const);

/**
 * Optimal brain quantization in column order (Frantar et al. 2022, equation 2 and section 4, step 1) with no Cholesky factor:
 * after a column is rounded, the inverse Hessian of those that remain is computed anew.
 */
function naiveGptq(values: Float32Array, rows: number, cols: number, gram: Float64Array, weightFormat: WeightFormat) {
  const hessian = gram.slice();
  let mean = 0;
  for (let i = 0; i < cols; i++) mean += hessian[i * cols + i]! / cols;
  for (let i = 0; i < cols; i++) hessian[i * cols + i]! += 0.01 * mean;
  const grid = codeGrid(weightFormat, checkedMagnitude(values, rows, cols));
  const weights = Float64Array.from(values);
  const rounded = new Float32Array(values.length);
  const { scales, zeroPoints } = matrixScales(grid, wholeRangeScale, values, rows, cols);
  const granularity = weightFormat.granularity!;
  const size = granularity.kind === "group" ? granularity.size : cols;
  for (let col = 0; col < cols; col++) {
    const left = cols - col;
    const remaining = Float64Array.from({ length: left * left }, (_, i) => {
      return hessian[(col + Math.floor(i / left)) * cols + col + (i % left)]!;
    });
    const inverse = choleskyInverse(remaining, left)!;
    for (let row = 0; row < rows; row++) {
      const at = row * cols + col;
      const index = granularity.kind === "tensor" ? 0 : row * Math.ceil(cols / size) + Math.floor(col / size);
      if (granularity.kind === "group" && col % size === 0) {
        const end = row * cols + Math.min(col + size, cols);
        const chosen = wholeRangeScale(grid, Float32Array.from(weights), at, end);
        [scales[index], zeroPoints[index]] = [chosen.scale, chosen.zeroPoint];
      }
      rounded[at] = grid.round(Math.fround(weights[at]!), scales[index]!, zeroPoints[index]!);
      const error = (weights[at]! - rounded[at]!) / inverse[0]!;
      for (let j = 0; j < left; j++) weights[at + j]! -= error * inverse[j]!;
    }
  }
  return rounded;
}

describe.each(["int4-tensor", "int4-channel", "int8-channel-affine", "fp4-g32", "int4-g32-affine", "int4-g64"])(
  "%s",
  (name) => {
    test.each([1, 32, 128])(
      `codes are those of the unblocked algorithm at %i lazy columns (seed ${seed})`,
      (lazyColumns) => {
        const [rows, cols] = [6, 70];
        const values = normals(seed, rows * cols);
        const gram = plainGram(correlated(seed + 1, 200, cols, 8), 200, cols);
        const weightFormat = parseWeightFormat(name);
        const expected = naiveGptq(values, rows, cols, gram, weightFormat);
        const result = quantizeGptq(values, rows, cols, gram, weightFormat, { lazyColumns });
        expect(result.keptRoundToNearestRows).toBe(0);
        expect(dequantize(result.tensor).map((value) => value + 0)).toEqual(expected.map((value) => value + 0));
      },
    );
  },
);

test("two columns by hand: the second makes up for the first", () => {
  // H = [[1, 1], [1, 2]] is fully trusted; rounding 0.4 to 0 leaves 0.4, of which the second column takes half: 1.4 + 0.2.
  const values = new Float32Array([0.4, 1.4, 7, 0]);
  const gram = new Float64Array([1, 1, 1, 2]);
  const { tensor, outputErrorBefore, outputErrorAfter } = quantizeGptq(
    values,
    2,
    2,
    gram,
    parseWeightFormat("int4-tensor"),
    { damping: 0 },
  );
  expect([...dequantize(tensor)]).toEqual([0, 2, 7, 0]);
  // (0.4, 0.4) against (0.4, -0.6) under H.
  expect(outputErrorBefore).toBeCloseTo(0.16 + 2 * 0.16 + 2 * 0.16, 6);
  expect(outputErrorAfter).toBeCloseTo(0.16 - 2 * 0.24 + 2 * 0.36, 6);
});

describe.each(named)("%s", (_, weightFormat) => {
  test(`recovers much of what rounding costs on correlated inputs (seed ${seed})`, () => {
    const [rows, cols, tokens] = [24, 96, 300];
    const values = normals(seed + 2, rows * cols);
    const gram = plainGram(correlated(seed + 3, tokens, cols, 6), tokens, cols);
    for (const options of [{}, { scaleMethod: "mse" }, { actOrder: true }] satisfies GptqOptions[]) {
      const { outputErrorBefore, outputErrorAfter } = quantizeGptq(values, rows, cols, gram, weightFormat, options);
      expect(outputErrorAfter).toBeLessThan(0.7 * outputErrorBefore);
    }
  });

  test(`is in no row worse than round to nearest on awkward inputs (seed ${seed})`, () => {
    const uniform = uniforms(seed + 4);
    for (let round = 0; round < 12; round++) {
      const [rows, cols] = [1 + Math.floor(uniform() * 8), 17 + Math.floor(uniform() * 90)];
      const tokens = 1 + Math.floor(uniform() * 60); // often fewer than columns
      const values = normals(seed + round, rows * cols);
      const x = correlated(seed + 100 + round, tokens, cols, 3);
      for (let token = 0; token < tokens; token++) {
        const start = token * cols;
        x[start + 3] = x[start + 4]!; // a duplicate
        x[start + 5] = 0; // dead
        x[start + 6] = 1; // constant
        x[start + 7]! *= 100;
      }
      values.fill(0, 0, round % 3 === 0 ? cols : 0); // a row of zeros
      values.fill(0.5, (rows - 1) * cols, round % 4 === 0 ? undefined : (rows - 1) * cols); // a constant row
      const gram = plainGram(x, tokens, cols);
      const options: GptqOptions = {
        actOrder: round % 2 === 1,
        lazyColumns: [1, 20, 128][round % 3]!,
        damping: [0, 0.01, 0.1][Math.floor(round / 3) % 3]!,
      };
      const result = quantizeGptq(values, rows, cols, gram, weightFormat, options);
      const before = roundingErrors(
        values,
        dequantize(quantizeAbsMax(values, rows, cols, weightFormat)),
        rows,
        cols,
        gram,
      );
      const after = roundingErrors(values, dequantize(result.tensor), rows, cols, gram);
      for (let row = 0; row < rows; row++) expect(after[row]).toBeLessThanOrEqual(before[row]!);
      expect(result.outputErrorBefore).toBe(total(before));
      expect(result.outputErrorAfter).toBe(total(after));
      expect(result.deadColumnCount).toBe(1);
      expect(result.tensor.scales.every((scale) => scale >= 0 && scale < Infinity)).toBe(true);
    }
  });
});

test(`rows that lose keep round-to-nearest codes and scales, and are counted (seed ${seed})`, () => {
  // Independent inputs leave nothing to make up for, and choosing scales late is then as often a loss as a gain.
  const [rows, cols] = [40, 64];
  const values = normals(seed + 5, rows * cols);
  const gram = plainGram(normals(seed + 6, 5000 * cols), 5000, cols);
  const weightFormat = parseWeightFormat("int4-g32");
  const { tensor, keptRoundToNearestRows } = quantizeGptq(values, rows, cols, gram, weightFormat);
  const nearest = quantizeAbsMax(values, rows, cols, weightFormat);
  const rowOf = ({ codes, scales }: typeof nearest, row: number) =>
    `${codes.subarray((row * cols) / 2, ((row + 1) * cols) / 2)} ${scales.subarray(row * 2, row * 2 + 2)}`;
  let same = 0;
  for (let row = 0; row < rows; row++) if (rowOf(tensor, row) === rowOf(nearest, row)) same++;
  expect(keptRoundToNearestRows).toBeGreaterThan(0);
  expect(same).toBeGreaterThanOrEqual(keptRoundToNearestRows);
});

test("act-order takes columns by falling diagonal and leaves equal ones in place", () => {
  const gram = new Float64Array([2, 0, 0, 0, 0, 5, 0, 0, 0, 0, 2, 0, 0, 0, 0, 9]);
  expect([...gptqFactor(gram, 4, { actOrder: true }).order!]).toEqual([3, 1, 0, 2]);
});

test(`act-order on columns that already fall changes nothing but the time of choosing scales (seed ${seed})`, () => {
  const [rows, cols] = [8, 64];
  const values = normals(seed + 7, rows * cols);
  const x = correlated(seed + 8, 200, cols, 4);
  const order = gptqFactor(plainGram(x, 200, cols), cols, { actOrder: true }).order!;
  const sorted = x.map((_, i) => x[i - (i % cols) + order[i % cols]!]!);
  const gram = plainGram(sorted, 200, cols);
  const ordered = quantizeGptq(values, rows, cols, gram, parseWeightFormat("int4-g32"), { actOrder: true });
  const plain = quantizeGptq(values, rows, cols, gram, parseWeightFormat("int4-g32"), { staticGroups: true });
  expect(ordered).toEqual(plain);
  expect(ordered.tensor.scales).toEqual(quantizeAbsMax(values, rows, cols, parseWeightFormat("int4-g32")).scales);
});

test(`layers that share an input may share its factor (seed ${seed})`, () => {
  const values = normals(seed + 9, 4 * 40);
  const gram = plainGram(correlated(seed + 10, 100, 40, 4), 100, 40);
  const factor = gptqFactor(gram, 40, { actOrder: true });
  const shared = quantizeGptq(values, 4, 40, gram, parseWeightFormat("int4-channel"), { actOrder: true, factor });
  expect(shared).toEqual(quantizeGptq(values, 4, 40, gram, parseWeightFormat("int4-channel"), { actOrder: true }));
});

test("weights of dead columns become 0", () => {
  const gram = new Float64Array([1, 0, 0, 0]);
  const { tensor } = quantizeGptq(new Float32Array([1, 1]), 1, 2, gram, parseWeightFormat("int4-tensor"));
  expect([...dequantize(tensor)]).toEqual([1, 0]);
});

test("operands that do not fit are refused", () => {
  const [values, gram] = [new Float32Array(4), new Float64Array([1, 0, 0, 1])];
  const int4 = parseWeightFormat("int4-channel");
  expect(() => quantizeGptq(values, 2, 3, gram, int4)).toThrow("4 values do not fill a matrix [2, 3]");
  expect(() => quantizeGptq(values, 1, 4, gram, int4)).toThrow("4 sums are not a Gram matrix [4, 4]");
  expect(() => quantizeGptq(values.fill(Infinity), 2, 2, gram, int4)).toThrow("element 0 is Infinity");
  expect(() => quantizeGptq(values.fill(1), 2, 2, gram.fill(Number.NaN), int4)).toThrow("diagonal element 0");
  const options = { actOrder: true, staticGroups: false };
  expect(() => quantizeGptq(values, 2, 2, gram.fill(1), int4, options)).toThrow("needs static groups");
  expect(() => quantizeGptq(values, 2, 2, gram, int4, { lazyColumns: 0 })).toThrow("lazyColumns");
});
