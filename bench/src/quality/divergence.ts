/** What the logits of one position say of a candidate beside its reference. */
export interface RowComparison {
  /** KL(reference || candidate) in nats. */
  readonly divergence: number;
  /** -log of the probability that the candidate gives the target. */
  readonly nats: number;
  /** The same of the reference. */
  readonly referenceNats: number;
  /** Whether both find the same token most likely; of equals the one with the lowest id. */
  readonly isAgreed: boolean;
}

/**
 * Compares two distributions over the same vocabulary. KL(p || q) = sum_i p_i (log p_i - log q_i), with the normalizers taken
 * out of the loop.
 * @param p `[vocabSize]` logits of the reference
 * @param q `[vocabSize]` logits of the candidate
 * @param target id of the token that came
 */
export function compareRow(p: Float32Array, q: Float32Array, target: number): RowComparison {
  let pTop = 0;
  let qTop = 0;
  for (let i = 1; i < p.length; i++) {
    if (p[i]! > p[pTop]!) pTop = i;
    if (q[i]! > q[qTop]!) qTop = i;
  }
  const pMax = p[pTop]!;
  const qMax = q[qTop]!;
  let pSum = 0;
  let qSum = 0;
  let cross = 0;
  for (let i = 0; i < p.length; i++) {
    const pShifted = p[i]! - pMax;
    const qShifted = q[i]! - qMax;
    const weight = Math.exp(pShifted);
    pSum += weight;
    qSum += Math.exp(qShifted);
    cross += weight * (pShifted - qShifted);
  }
  const pLog = Math.log(pSum);
  const qLog = Math.log(qSum);
  return {
    divergence: cross / pSum - pLog + qLog,
    nats: qMax + qLog - q[target]!,
    referenceNats: pMax + pLog - p[target]!,
    isAgreed: pTop === qTop,
  };
}

/**
 * Kullback-Leibler divergence KL(p || q) in nats of two distributions given as logits, summed over rows.
 * @param p `[rows, vocabSize]` logits of the reference
 * @param q `[rows, vocabSize]` logits of the candidate
 */
export function klDivergence(p: Float32Array, q: Float32Array, vocabSize: number): number {
  let sum = 0;
  for (let start = 0; start < p.length; start += vocabSize) {
    const end = start + vocabSize;
    sum += compareRow(p.subarray(start, end), q.subarray(start, end), 0).divergence;
  }
  return sum;
}

/**
 * Sum of -log p(target) in nats.
 * @param logits `[rows, vocabSize]`
 * @param targets `[rows]`
 */
export function negativeLogLikelihood(logits: Float32Array, targets: Int32Array, vocabSize: number): number {
  let sum = 0;
  for (const [row, target] of targets.entries()) {
    const start = row * vocabSize;
    let max = Number.NEGATIVE_INFINITY;
    for (let i = start; i < start + vocabSize; i++) if (logits[i]! > max) max = logits[i]!;
    let total = 0;
    for (let i = start; i < start + vocabSize; i++) total += Math.exp(logits[i]! - max);
    sum += max + Math.log(total) - logits[start + target]!;
  }
  return sum;
}
