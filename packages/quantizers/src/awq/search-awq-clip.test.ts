import { dequantize, parseWeightFormat, quantizeAbsMax, type WeightFormat, weightFormatName } from "@kvant/formats";
import { expect, test } from "vitest";
import { correlated, normals, plainGram } from "../../test/random-matrices.ts";
import { roundingErrors, total } from "../linear-algebra/output-error.ts";
import { searchAwqClip } from "./search-awq-clip.ts";

const seed = 45_001;
const names = [
  "int4-tensor",
  "int8-tensor-affine",
  "int4-channel",
  "int4-g32",
  "int4-g32-affine",
  "int8-channel",
  "fp4-g32",
  "fp4-channel",
  "nvfp4",
];
const weightFormats: WeightFormat[] = [
  ...names.map(parseWeightFormat),
  { format: "int3", granularity: { kind: "group", size: 40 }, affine: false },
];

test.each(weightFormats.map((each) => [weightFormatName(each), each] as const))(
  `clipping %s is no worse than the full range, in no row that has scales of its own (seed ${seed})`,
  (_, weightFormat) => {
    const [rows, cols] = [12, 90];
    const values = normals(seed, rows * cols).map((value, i) => (i % 29 === 0 ? value * 3 : value));
    for (const tokens of [20, 400]) {
      const gram = plainGram(correlated(seed + tokens, tokens, cols, 5), tokens, cols);
      const { tensor, lossBefore, lossAfter } = searchAwqClip({ values, rows, cols, gram, weightFormat });
      const full = roundingErrors(
        values,
        dequantize(quantizeAbsMax(values, rows, cols, weightFormat)),
        rows,
        cols,
        gram,
      );
      const clipped = roundingErrors(values, dequantize(tensor), rows, cols, gram);
      if (weightFormat.granularity?.kind !== "tensor") {
        for (let row = 0; row < rows; row++) expect(clipped[row]).toBeLessThanOrEqual(full[row]!);
      }
      expect(lossAfter).toBeLessThanOrEqual(lossBefore);
      expect([lossBefore, lossAfter]).toEqual([total(full), total(clipped)]);
    }
  },
);

test(`an outlier on a channel that is hardly active is clipped to half (seed ${seed})`, () => {
  const cols = 64;
  const values = normals(seed + 1, cols);
  values[10] = 12;
  const gram = new Float64Array(cols * cols);
  for (let i = 0; i < cols; i++) gram[i * cols + i] = i === 10 ? 1e-6 : 1;
  const weightFormat = parseWeightFormat("int4-channel");
  const { tensor, shrinks, lossBefore, lossAfter } = searchAwqClip({ values, rows: 1, cols, gram, weightFormat });
  expect(shrinks[0]).toBeLessThan(0.6);
  expect(lossAfter).toBeLessThan(0.5 * lossBefore);
  // The scale shrank, and the outlier saturates at the last code.
  expect(tensor.scales[0]).toBeCloseTo((12 * shrinks[0]!) / 7, 5);
  expect(dequantize(tensor)[10]).toBeCloseTo(12 * shrinks[0]!, 5);
});

test("weights that their codes hold exactly keep their ranges", () => {
  const values = new Float32Array([7, -3, 0, 1, 14, 2, -6, 0]);
  const gram = new Float64Array(16).map((_, i) => (i % 5 === 0 ? 1 : 0));
  const weightFormat = parseWeightFormat("int4-channel");
  const { tensor, shrinks, lossAfter } = searchAwqClip({ values, rows: 2, cols: 4, gram, weightFormat });
  expect([...shrinks]).toEqual([1, 1]);
  expect(lossAfter).toBe(0);
  expect(tensor).toEqual(quantizeAbsMax(values, 2, 4, weightFormat));
});

test("operands that do not fit are refused", () => {
  const request = {
    values: new Float32Array(4),
    rows: 2,
    cols: 2,
    gram: new Float64Array(4),
    weightFormat: parseWeightFormat("int4-channel"),
  };
  const weightFormat = { format: "int4", granularity: { kind: "channel", axis: 1 }, affine: false } as const;
  expect(() => searchAwqClip({ ...request, weightFormat })).toThrow("the scales of int4-channel1 are others");
  expect(() => searchAwqClip({ ...request, gram: new Float64Array(3) })).toThrow("3 sums are not a Gram matrix [2, 2]");
  expect(() => searchAwqClip({ ...request, smallestShrink: 1 })).toThrow("no clipping search");
});
