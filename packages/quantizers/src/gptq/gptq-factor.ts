import { defaultDamping, type InverseFactor, inverseCholeskyUpper } from "../linear-algebra/inverse-cholesky.ts";

/** What GPTQ needs to know of a layer's inputs; layers that share their input share it. */
export interface GptqFactor extends InverseFactor {
  /** [cols], the column that is quantized at each place: by falling diagonal of the Hessian; `undefined`: as they lie. */
  readonly order: Int32Array | undefined;
}

/**
 * Factors the Hessian for GPTQ. With `actOrder` the columns with the largest inputs are quantized first, while there are
 * still others left to make up for their error (the authors' code, `--act-order`); equal ones stay in place.
 * @throws KvantError INVALID_ARGUMENT as `inverseCholeskyUpper`
 */
export function gptqFactor(
  gram: Float64Array, // [cols, cols]
  cols: number,
  { damping = defaultDamping, actOrder = false }: { readonly damping?: number; readonly actOrder?: boolean } = {},
): GptqFactor {
  if (!actOrder) return { ...inverseCholeskyUpper(gram, cols, damping), order: undefined };
  const order = Int32Array.from({ length: cols }, (_, col) => col);
  order.sort((a, b) => gram[b * cols + b]! - gram[a * cols + a]! || a - b);
  const permuted = new Float64Array(gram.length);
  for (let row = 0; row < cols; row++) {
    const from = order[row]! * cols;
    for (let col = 0; col < cols; col++) permuted[row * cols + col] = gram[from + order[col]!]!;
  }
  return { ...inverseCholeskyUpper(permuted, cols, damping), order };
}
