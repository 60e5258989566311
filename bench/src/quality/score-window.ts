import type { OpenForwardPass } from "@kvant/engine";
import { compareRow } from "./divergence.ts";
import type { Window } from "./windows.ts";

/** Sums over the scored tokens of one window. */
export interface WindowScore {
  readonly tokens: number;
  /** Negative log-likelihood. */
  readonly nats: number;
}

export interface WindowComparison extends WindowScore {
  readonly referenceNats: number;
  /** KL(reference || candidate). */
  readonly divergence: number;
  /** Positions at which both find the same token most likely. */
  readonly agreements: number;
}

export async function scoreWindow(open: OpenForwardPass, { tokenIds, from }: Window): Promise<WindowScore> {
  const scores = await open.pass.scores(tokenIds, from);
  return { tokens: scores.length, nats: -scores.reduce((sum, value) => sum + value, 0) };
}

/**
 * Runs both models over a window side by side, so that no more than one step's logits of each are in memory. Both must have
 * been opened with the same `chunkTokens`.
 */
export async function compareWindow(
  open: OpenForwardPass,
  reference: OpenForwardPass,
  { tokenIds, from }: Window,
): Promise<WindowComparison> {
  const inputs = tokenIds.subarray(0, -1);
  const { vocabSize } = open.info;
  const candidates = open.pass.logitChunks(inputs, from);
  const references = reference.pass.logitChunks(inputs, from);
  let [tokens, nats, referenceNats, divergence, agreements] = [0, 0, 0, 0, 0];
  for (;;) {
    const [ours, theirs] = await Promise.all([candidates.next(), references.next()]);
    if (ours.done || theirs.done) return { tokens, nats, referenceNats, divergence, agreements };
    const { start, logits } = ours.value;
    // Row by row, so that the order of additions does not depend on the chunks.
    for (let row = 0; row * vocabSize < logits.length; row++) {
      const [begin, end] = [row * vocabSize, (row + 1) * vocabSize];
      const p = theirs.value.logits.subarray(begin, end);
      const compared = compareRow(p, logits.subarray(begin, end), tokenIds[start + row + 1]!);
      tokens++;
      nats += compared.nats;
      referenceNats += compared.referenceNats;
      divergence += compared.divergence;
      if (compared.isAgreed) agreements++;
    }
  }
}
