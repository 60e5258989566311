/**
 * Kullback-Leibler divergence KL(p || q) in nats of two distributions given as logits, summed over rows.
 * @param p `[rows, vocabSize]` logits of the reference
 * @param q `[rows, vocabSize]` logits of the candidate
 */
export function klDivergence(p: Float32Array, q: Float32Array, vocabSize: number): number {
  let sum = 0;
  for (let start = 0; start < p.length; start += vocabSize) sum += rowDivergence(p, q, start, start + vocabSize);
  return sum;
}

/** sum_i p_i (log p_i - log q_i), with the log-normalisers taken out of the loop over the vocabulary. */
function rowDivergence(p: Float32Array, q: Float32Array, start: number, end: number): number {
  let pMax = Number.NEGATIVE_INFINITY;
  let qMax = Number.NEGATIVE_INFINITY;
  for (let i = start; i < end; i++) {
    if (p[i]! > pMax) pMax = p[i]!;
    if (q[i]! > qMax) qMax = q[i]!;
  }
  let pSum = 0;
  let qSum = 0;
  let cross = 0;
  for (let i = start; i < end; i++) {
    const pShifted = p[i]! - pMax;
    const qShifted = q[i]! - qMax;
    const weight = Math.exp(pShifted);
    pSum += weight;
    qSum += Math.exp(qShifted);
    cross += weight * (pShifted - qShifted);
  }
  return cross / pSum - Math.log(pSum) + Math.log(qSum);
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
