import type { SamplingParameters } from "../step.ts";
import { logProbability, topLogProbabilities } from "./log-probability.ts";
import { uniform } from "./philox.ts";

/** What a row slot remembers between steps. */
export interface RowHistory {
  readonly promptIds: readonly number[];
  readonly outputIds: readonly number[];
}

export interface Sampled {
  readonly id: number;
  /** Under the raw distribution; NaN when not asked. */
  readonly logprob: number;
  readonly top: readonly (readonly [tokenId: number, logprob: number])[] | undefined;
}

/** Draws one token by the rules and in the order of `SamplingParameters`. */
export function sample(logits: Float32Array, sampling: SamplingParameters, history: RowHistory): Sampled {
  const adjusted = adjust(logits, sampling, history);
  const likeliest = argmax(adjusted);
  const isCertain = sampling.temperature === 0 || !Number.isFinite(adjusted[likeliest]!);
  const id = isCertain
    ? likeliest
    : draw(adjusted, adjusted[likeliest]!, sampling, uniform(sampling.seed, history.outputIds.length));
  const { topLogprobs } = sampling;
  return {
    id,
    logprob: topLogprobs < 0 ? Number.NaN : logProbability(logits, id),
    top: topLogprobs > 0 ? topLogProbabilities(logits, topLogprobs) : undefined,
  };
}

/** Penalties, bias and suppression, on logits as doubles; NaN counts as impossible. */
function adjust(logits: Float32Array, sampling: SamplingParameters, history: RowHistory): Float64Array {
  const adjusted = Float64Array.from(logits, (logit) => (Number.isNaN(logit) ? -Infinity : logit));
  const { repetitionPenalty, frequencyPenalty, presencePenalty } = sampling;
  if (repetitionPenalty !== 1) {
    for (const id of new Set([...history.promptIds, ...history.outputIds])) {
      const logit = adjusted[id]!;
      adjusted[id] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
    }
  }
  if (frequencyPenalty !== 0 || presencePenalty !== 0) {
    const counts = new Map<number, number>();
    for (const id of history.outputIds) counts.set(id, (counts.get(id) ?? 0) + 1);
    for (const [id, count] of counts) {
      adjusted[id] = adjusted[id]! - frequencyPenalty * count - presencePenalty;
    }
  }
  for (const [id, bias] of sampling.logitBias) adjusted[id] = adjusted[id]! + Math.fround(bias);
  if (history.outputIds.length < sampling.minTokens) {
    for (const id of sampling.suppressedIds) adjusted[id] = -Infinity;
  }
  return adjusted;
}

/** The lowest id among the largest. */
function argmax(logits: Float64Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

/**
 * Temperature, top-k, softmax, top-p, min-p, draw. Walks the kept ids until the cumulative weight exceeds `u` times the
 * total: most likely first when a filter is on, in id order otherwise (no sort is needed then).
 */
function draw(adjusted: Float64Array, largest: number, sampling: SamplingParameters, u: number): number {
  const { temperature, topK, topP, minP } = sampling;
  // The difference is divided, not the logits: a tiny temperature would turn those into infinities.
  const weights = adjusted.map((logit) => Math.exp((logit - largest) / temperature));
  let kept: ArrayLike<number> = Uint32Array.from(weights, (_, id) => id);
  if (topK > 0 || topP < 1 || minP > 0) {
    let sorted = Uint32Array.from(kept).sort((a, b) => adjusted[b]! - adjusted[a]! || a - b);
    if (topK > 0) sorted = sorted.subarray(0, topK);
    if (topP < 1) sorted = sorted.subarray(0, prefixLength(sorted, weights, topP));
    if (minP > 0) sorted = sorted.filter((id) => weights[id]! >= minP * weights[sorted[0]!]!);
    kept = sorted;
  }
  const threshold = u * sumOf(kept, weights);
  let cumulative = 0;
  let last = kept[0]!;
  for (let i = 0; i < kept.length; i++) {
    const weight = weights[kept[i]!]!;
    if (weight === 0) continue;
    last = kept[i]!;
    cumulative += weight;
    if (cumulative > threshold) break;
  }
  return last;
}

/** Length of the shortest prefix, at least 1, that holds `topP` of the total. */
function prefixLength(ids: ArrayLike<number>, weights: Float64Array, topP: number): number {
  const wanted = topP * sumOf(ids, weights);
  let cumulative = 0;
  for (let i = 0; i < ids.length; i++) {
    cumulative += weights[ids[i]!]!;
    if (cumulative >= wanted) return i + 1;
  }
  return ids.length;
}

function sumOf(ids: ArrayLike<number>, weights: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < ids.length; i++) sum += weights[ids[i]!]!;
  return sum;
}
