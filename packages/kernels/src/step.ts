/** A token id that the backend replaces by the token it sampled last for that row slot. */
export const FROM_PREVIOUS_STEP = -1;

/** What a row of a step wants back. */
export const rowWants = {
  /** Only the KV write (a prefill chunk that is not the last). */
  nothing: 0,
  /** One sampled token, from the logits of the row's last token. */
  sample: 1,
  /** The logits of every token of the row, unsampled. */
  logits: 2,
  /** The log-probability of `targets[t]` under the logits of every token t of the row. */
  score: 3,
} as const;

/** Which way a page swap goes. */
export const swapDirections = {
  /** Device page to host page. */
  out: 0,
  /** Host page to device page. */
  in: 1,
} as const;

/**
 * The packed inputs of one step. Typed arrays are read during `submit` and may be reused as soon as it returns.
 * Order inside the backend: row updates, page appends, page swaps, page copies, then the plan. Swaps come first among those
 * that touch bytes: a page that one takes out may be the target of a copy or of the plan's writes in the same step, and one
 * that comes in may be read by both. What a copy of the step reads must not be the target of a swap of the step.
 */
export interface StepInputs {
  /** `[rows]` row slot of each sequence; a slot appears at most once. */
  readonly rowSlots: Int32Array;
  /** `[rows + 1]` first token of each row in `tokenIds`. */
  readonly rowStarts: Int32Array;
  /** `[rows]` position of each row's first token in its sequence; the others follow consecutively. */
  readonly rowPositions: Int32Array;
  /** `[rows]` values of `rowWants`. */
  readonly rowWants: Uint8Array;
  /** `[tokens]`, or FROM_PREVIOUS_STEP. */
  readonly tokenIds: Int32Array;
  /** `[tokens]` next tokens, read for rows that want `score`; may be empty when none does. */
  readonly targets: Int32Array;
  /** `[appends, 4]`: row slot, KV group, index in the table, page. */
  readonly pageAppends: Int32Array;
  /** `[swaps, 4]`: KV group, device page, host page, a value of `swapDirections`; moved one after the other. */
  readonly pageSwaps: Int32Array;
  /** `[copies, 3]`: KV group, from page, to page (copy-on-write). */
  readonly pageCopies: Int32Array;
  /** Rows that start (or restart after preemption) in this step. */
  readonly rowUpdates: readonly RowUpdate[];
}

/** Resets a row slot: its table becomes empty, its history is `promptIds` then `outputIds`. */
export interface RowUpdate {
  readonly slot: number;
  readonly sampling: SamplingParameters;
  /** Needed only when a penalty is active; otherwise may be empty. */
  readonly promptIds: Int32Array;
  /** Tokens generated before a preemption; its length is also the index of the next random draw. */
  readonly outputIds: Int32Array;
}

/**
 * How a row samples. Order: repetition, frequency and presence penalties, logit bias, minimum-token suppression,
 * temperature, top-k, top-p, min-p, draw. Temperature 0 takes the largest logit (lowest id on a tie) after the penalties.
 */
export interface SamplingParameters {
  readonly temperature: number;
  /** 0: off. */
  readonly topK: number;
  /** 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly minP: number;
  /** 1: off. Divides positive and multiplies negative logits of tokens in prompt or output (CTRL, arXiv:1909.05858). */
  readonly repetitionPenalty: number;
  /** 0: off. Times the token's count in the output. */
  readonly frequencyPenalty: number;
  /** 0: off. Once for tokens in the output. */
  readonly presencePenalty: number;
  /** 64-bit Philox key as two unsigned words. */
  readonly seed: readonly [low: number, high: number];
  readonly logitBias: readonly (readonly [tokenId: number, bias: number])[];
  /** While fewer than `minTokens` were generated these ids cannot be drawn. */
  readonly minTokens: number;
  readonly suppressedIds: readonly number[];
  /** -1: no log-probabilities; 0: of the drawn token; k: also the k most likely (raw distribution, before penalties). */
  readonly topLogprobs: number;
}

/** Takes the most likely token and reports nothing. */
export const greedy: SamplingParameters = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  seed: [0, 0],
  logitBias: [],
  minTokens: 0,
  suppressedIds: [],
  topLogprobs: -1,
};

export interface StepOutputs {
  /** `[rows]` sampled ids; -1 for rows that did not sample. */
  readonly sampledIds: Int32Array;
  /** `[rows]` log-probability of the sampled id under the raw distribution; NaN where not asked. */
  readonly sampledLogprobs: Float32Array;
  /** `[rows]` the k most likely ids, most likely first; undefined where k = 0 or not asked. */
  readonly topLogprobs: readonly (readonly (readonly [tokenId: number, logprob: number])[] | undefined)[];
  /** Logits of the rows that want them, in row then token order, `[tokens, vocabSize]`; empty otherwise. */
  readonly logits: Float32Array;
  /** Log-probabilities of the rows that want `score`, in row then token order; empty otherwise. */
  readonly scores: Float32Array;
  /** Time the plan took, in seconds. */
  readonly seconds: number;
  /**
   * From the end of the last kernel of the step before to the start of this one's first, in seconds; undefined for the first
   * step, after one that failed, and where the backend does not measure: only cpu does.
   */
  readonly gapSeconds?: number | undefined;
  /** Values clipped by static KV scales in this step. */
  readonly saturations: number;
}
