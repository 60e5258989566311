import { parseWeightFormat } from "@kvant/formats";
import { expect, test } from "vitest";
import { correlated, normals, plainGram } from "../../test/random-matrices.ts";
import { searchAwqClip } from "../awq/search-awq-clip.ts";
import { searchAwqScales } from "../awq/search-awq-scales.ts";
import { quantizeGptq } from "../gptq/quantize-gptq.ts";
import { roundingErrors, total } from "../linear-algebra/output-error.ts";
import { hostGram } from "./calibration-gram.ts";

const seed = 48_901;
const [rows, width, tokens] = [6, 32, 60];
const sums = plainGram(correlated(seed, tokens, width, 4), tokens, width);
const gram = hostGram(sums, width);
const values = normals(seed + 1, rows * width);
const weightFormat = parseWeightFormat("int4-g32");

test(`a Gram matrix in this process computes by the functions of this package (seed ${seed})`, () => {
  for (const options of [{}, { damping: 0.1 }, { damping: 0.1, actOrder: true }, {}]) {
    const expected = quantizeGptq(values, rows, width, sums, weightFormat, options);
    // The second call finds the factor of the first.
    for (let call = 0; call < 2; call++) {
      expect(gram.quantizeGptq(values, rows, weightFormat, options)).toEqual(expected);
    }
  }
  const scales = { linears: [{ values, rows }], activationMagnitude: new Float32Array(width).fill(2), weightFormat };
  expect(gram.searchAwqScales(scales)).toEqual(searchAwqScales({ ...scales, cols: width, gram: sums }));
  const clip = { values, rows, weightFormat };
  expect(gram.searchAwqClip(clip)).toEqual(searchAwqClip({ ...clip, cols: width, gram: sums }));
});

test(`errors and energies of outputs are quadratic forms (seed ${seed})`, () => {
  const rounded = values.map(Math.round);
  expect(gram.outputError(values, rounded, rows)).toBe(total(roundingErrors(values, rounded, rows, width, sums)));
  const energy = total(roundingErrors(values, new Float32Array(values.length), rows, width, sums));
  expect(gram.outputError(values, undefined, rows)).toBe(energy);
});

test("a divided matrix is that of divided activations, and the first stays as it is", () => {
  const before = sums.slice();
  const factors = Float32Array.from({ length: width }, (_, channel) => 1 + channel / 4);
  const divided = gram.divide(factors).read();
  expect(divided[5 * width + 9]).toBe(sums[5 * width + 9]! / (factors[5]! * factors[9]!));
  expect(gram.read()).toEqual(before);
});
