import type { PreparedActivations } from "./prepare-activations.ts";
import type { ReferenceMatrix } from "./reference-weight.ts";

/**
 * out[t, n] = sum_k x[t, k] * w[n, k] (+ bias[n])
 *
 * With integer codes on both sides the dot product of each group is exact, and scales enter once per group:
 *
 *     out[t, n] = xScale[t] * sum_g wScale[n, g] * sum_(k in g) xCode[t, k] * wCode[n, k]
 */
export function linear(
  x: PreparedActivations, // [T, K]
  weight: ReferenceMatrix, // [N, K]
  bias: Float32Array | undefined, // [N]
  out: Float32Array, // [T, N]
): void {
  const { rows, cols } = weight;
  const tokens = out.length / rows;
  for (let token = 0; token < tokens; token++) {
    for (let row = 0; row < rows; row++) {
      const product =
        weight.kind === "codes" && x.kind === "codes"
          ? codesProduct(x.codes, token * cols, weight, row) * x.scales[token]!
          : valuesProduct(x.values, token * cols, weight.values, row * cols, cols);
      out[token * rows + row] = product + (bias === undefined ? 0 : bias[row]!);
    }
  }
}

function valuesProduct(x: Float32Array, xStart: number, w: Float32Array, wStart: number, count: number): number {
  let sum = 0;
  for (let k = 0; k < count; k++) sum += x[xStart + k]! * w[wStart + k]!;
  return sum;
}

function codesProduct(
  x: Int8Array,
  xStart: number,
  weight: Extract<ReferenceMatrix, { kind: "codes" }>,
  row: number,
): number {
  const { cols, codes, scales, groupSize } = weight;
  const groups = Math.ceil(cols / groupSize);
  const wStart = row * cols;
  let sum = 0;
  for (let group = 0; group < groups; group++) {
    const end = Math.min((group + 1) * groupSize, cols);
    let dot = 0;
    for (let k = group * groupSize; k < end; k++) dot += x[xStart + k]! * codes[wStart + k]!;
    sum += dot * scales[row * groups + group]!;
  }
  return sum;
}
