/** log softmax(logits)[target], in doubles. */
export function logProbability(logits: Float32Array, target: number): number {
  return logits[target]! - logSumExp(logits);
}

/** The `count` most likely ids with their log-probabilities, most likely first; the lower id first on a tie. */
export function topLogProbabilities(logits: Float32Array, count: number): (readonly [id: number, logprob: number])[] {
  const sum = logSumExp(logits);
  const best: number[] = []; // ids, most likely first
  for (let id = 0; id < logits.length; id++) {
    let place = best.length;
    while (place > 0 && logits[best[place - 1]!]! < logits[id]!) place -= 1;
    if (place === count) continue;
    best.splice(place, 0, id);
    best.length = Math.min(best.length, count);
  }
  return best.map((id) => [id, Math.fround(logits[id]! - sum)] as const);
}

function logSumExp(logits: Float32Array): number {
  let largest = -Infinity;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return largest + Math.log(sum);
}
