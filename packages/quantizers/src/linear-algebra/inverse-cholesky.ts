import { KvantError } from "@kvant/core";
import { choleskyInPlace, clearUpper, invertLowerInPlace } from "./cholesky.ts";
import { reversed, rowMajor } from "./matrix-view.ts";

/** GPTQ's factor of the inverse Hessian. */
export interface InverseFactor {
  /** [n, n], upper triangular, `upper^T upper = (H + damping * mean * I)^-1`. */
  readonly upper: Float64Array;
  /** The fraction of the mean diagonal that was added: what was asked for, or more if that matrix could not be factored. */
  readonly damping: number;
  /** [n], 1 where the input was zero in every token. */
  readonly deadColumns: Uint8Array;
}

/** GPTQ's default: 1 % of the mean diagonal (Frantar et al. 2022, section 4, step 3). */
export const defaultDamping = 0.01;

// From 0.01 these reach 1e4 times the mean diagonal. Rounding errors of a Gram matrix are many orders below that, so that what
// still fails is not positive semidefinite.
const raisesAtMost = 6;
const smallestRaisedDamping = 1e-6;

/**
 * The upper Cholesky factor U of the inverse of a damped Hessian (GPTQ, Frantar et al. 2022, section 4, step 3 and
 * algorithm 1: `Cholesky(H^-1)^T`). The paper inverts and then factors; here, with J reversing the order of rows,
 * `J H J = L L^T` gives `U = J L^-1 J`, the same matrix for half the arithmetic and without squaring H's condition.
 *
 * Dead columns (diagonal 0: the input was never active) are set apart: they get diagonal 1 as in the authors' code, but do
 * not enter the mean diagonal, which they would dominate where activations are small. If a pivot is not positive, damping is
 * raised tenfold, up to six times.
 * @throws KvantError INVALID_ARGUMENT if the matrix has another size, a diagonal element is negative or not finite, or no
 * damping helped
 */
export function inverseCholeskyUpper(
  hessian: Float64Array, // [n, n], symmetric
  n: number,
  damping: number = defaultDamping,
): InverseFactor {
  if (hessian.length !== n * n) {
    throw new KvantError("INVALID_ARGUMENT", `${hessian.length} numbers are not a Hessian [${n}, ${n}]`);
  }
  if (!(damping >= 0 && damping < Infinity)) {
    throw new KvantError("INVALID_ARGUMENT", `damping is a fraction of the mean diagonal, not ${damping}`);
  }
  const deadColumns = new Uint8Array(n);
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const entry = hessian[i * n + i]!;
    if (!(entry >= 0 && entry < Infinity)) {
      throw new KvantError("INVALID_ARGUMENT", `diagonal element ${i} of the Hessian is ${entry}`);
    }
    if (entry === 0) deadColumns[i] = 1;
    sum += entry;
  }
  const live = n - deadColumns.reduce((count, dead) => count + dead, 0);
  const mean = live === 0 ? 1 : sum / live;

  const upper = new Float64Array(n * n);
  const lower = reversed(rowMajor(upper, n), n);
  let fraction = damping;
  for (let raises = 0; raises <= raisesAtMost; raises++) {
    upper.set(hessian);
    for (let i = 0; i < n; i++) {
      if (deadColumns[i] === 1) upper[i * n + i] = 1;
      upper[i * n + i]! += fraction * mean;
    }
    if (choleskyInPlace(lower, n)) {
      clearUpper(lower, n);
      invertLowerInPlace(lower, n);
      return { upper, damping: fraction, deadColumns };
    }
    fraction = Math.max(fraction * 10, smallestRaisedDamping);
  }
  throw new KvantError(
    "INVALID_ARGUMENT",
    `the Hessian [${n}, ${n}] is not positive definite even with ${fraction / 10} of its mean diagonal added`,
  );
}
