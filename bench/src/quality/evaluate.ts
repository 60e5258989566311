import { KvantError } from "@kvant/core";
import {
  type EngineOptions,
  type ForwardPassModel,
  type LoadProgress,
  type OpenForwardPass,
  openForwardPass,
} from "@kvant/engine";
import { type MeanInterval, meanInterval } from "./mean-interval.ts";
import { type ModelSize, modelSize } from "./model-size.ts";
import { compareWindow, scoreWindow, type WindowComparison, type WindowScore } from "./score-window.ts";
import { maxWindowTokens, type Window, windows } from "./windows.ts";

export interface EvaluateOptions {
  readonly engine: ForwardPassModel;
  /** A text, or sequences of token ids without beginning of sequence, such as `generateSequences` draws. */
  readonly text: string | readonly Int32Array[];
  /** Without a reference: also measure the KL divergence from the same model with a BF16 KV cache. */
  readonly divergence: boolean;
  /** A model with the same vocabulary to compare with, which runs beside the candidate. */
  readonly reference?: EngineOptions;
  /** Of the model, then of the one that it is compared with. */
  readonly onLoad?: (progress: LoadProgress) => void;
  /** Text tokens evaluated so far and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** The scheme of one side of a comparison. */
export interface EvaluatedModel {
  readonly model: string;
  readonly weights: string;
  readonly activations: string;
  readonly kvFormat: string;
}

export interface Evaluation extends EvaluatedModel, ModelSize {
  readonly device: string;
  readonly backend: string;
  readonly tier: string;
  readonly variants: readonly string[];
  /** Tokens scored. */
  readonly tokens: number;
  readonly windows: number;
  /** exp of the mean negative log-likelihood per token. */
  readonly perplexity: number;
  /** Negative log-likelihood in bits over the UTF-8 bytes of the text; null of token ids, which have no bytes. */
  readonly bitsPerByte: number | null;
  /**
   * Mean nats per token of KL(BF16 KV || this KV) under the same weights; null when not measured, as with a reference that
   * differs in more than its KV cache.
   */
  readonly klVsBf16Kv: number | null;
  /** null without a reference, as are the fields below. */
  readonly reference: (EvaluatedModel & { readonly perplexity: number }) | null;
  /** Mean nats per token of KL(reference || candidate). */
  readonly klVsReference: number | null;
  /** Percentage of positions at which both find the same token most likely. */
  readonly top1Agreement: number | null;
  /** Negative log-likelihood of the candidate less that of the reference, nats per token, over windows: see `meanInterval`. */
  readonly nllDifference: MeanInterval | null;
  /** Perplexity of the candidate over that of the reference: exp of the mean difference. */
  readonly perplexityRatio: number | null;
  readonly seconds: number;
}

/**
 * Quality of one scheme on a text, through the same paged path as serving. Windows of min(context, 1024) tokens that begin with
 * the beginning of sequence, stride half a window, each token scored once. At most two models are open at once.
 * @throws TOKENIZER_ABSENT, INVALID_ARGUMENT for a text without a token to score or a reference that reads other tokens, and
 * what loading a model throws
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const startedAt = performance.now();
  const { text, reference } = options;
  const open = await openForwardPass({ mostTokens: maxWindowTokens, ...options.engine }, options.onLoad);
  let beside: OpenForwardPass | undefined;
  try {
    const { info } = open;
    const compared = reference ?? bf16KvTwin(options, info.kvFormat);
    if (compared !== undefined) beside = await openBeside(compared, options);
    const scores: readonly (WindowScore | WindowComparison)[] = await scoresOf(open, beside, options);
    const tokens = total(scores, (score) => score.tokens);
    const nats = total(scores, (score) => score.nats);
    const comparisons = scores.filter((score) => "divergence" in score);
    const divergence = beside === undefined ? null : total(comparisons, (score) => score.divergence) / tokens;
    const isKvComparison =
      beside !== undefined && beside.info.kvFormat === "bf16" && isSameButKv(options, open, beside);
    return {
      ...schemeOf(open),
      device: info.device,
      backend: info.backend,
      tier: info.tier,
      variants: open.variants,
      ...modelSize(options.engine, info),
      tokens,
      windows: scores.length,
      perplexity: Math.exp(nats / tokens),
      bitsPerByte: typeof text === "string" ? nats / Math.LN2 / Buffer.byteLength(text) : null,
      klVsBf16Kv: info.kvFormat === "bf16" ? 0 : isKvComparison ? divergence : null,
      ...(reference === undefined || beside === undefined ? uncompared : comparison(beside, comparisons, tokens)),
      seconds: (performance.now() - startedAt) / 1000,
    };
  } finally {
    await Promise.all([open.close(), beside?.close()]);
  }
}

type Comparison = Pick<
  Evaluation,
  "reference" | "klVsReference" | "top1Agreement" | "nllDifference" | "perplexityRatio"
>;

const uncompared: Comparison = {
  reference: null,
  klVsReference: null,
  top1Agreement: null,
  nllDifference: null,
  perplexityRatio: null,
};

function comparison(reference: OpenForwardPass, scores: readonly WindowComparison[], tokens: number): Comparison {
  const nllDifference = meanInterval(
    scores.map((score) => ({ count: score.tokens, sum: score.nats - score.referenceNats })),
  );
  const perplexity = Math.exp(total(scores, ({ referenceNats }) => referenceNats) / tokens);
  return {
    reference: { ...schemeOf(reference), perplexity },
    klVsReference: total(scores, ({ divergence }) => divergence) / tokens,
    top1Agreement: (100 * total(scores, ({ agreements }) => agreements)) / tokens,
    nllDifference,
    perplexityRatio: Math.exp(nllDifference.mean),
  };
}

function total<Score>(scores: readonly Score[], pick: (score: Score) => number): number {
  return scores.reduce((sum, score) => sum + pick(score), 0);
}

function schemeOf({ info }: OpenForwardPass): EvaluatedModel {
  return { model: info.name, weights: info.weights, activations: info.activations, kvFormat: info.kvFormat };
}

/** The same model with a BF16 KV cache, where the divergence from that is asked for and not 0 anyway. */
function bf16KvTwin({ engine, divergence }: EvaluateOptions, kvFormat: string): EngineOptions | undefined {
  return divergence && kvFormat !== "bf16" ? { ...engine, kvFormat: "bf16" } : undefined;
}

/** With steps as long as the candidate's: `compareWindow` reads both in step. */
function openBeside(
  compared: EngineOptions,
  { engine: { chunkTokens }, onLoad }: EvaluateOptions,
): Promise<OpenForwardPass> {
  const steps = chunkTokens === undefined ? {} : { chunkTokens };
  return openForwardPass({ mostTokens: maxWindowTokens, ...compared, ...steps }, onLoad);
}

/** Whether both hold and multiply the same weights the same way. */
function isSameButKv({ engine, reference }: EvaluateOptions, open: OpenForwardPass, beside: OpenForwardPass): boolean {
  if (reference === undefined) return true;
  const held = ({ info }: OpenForwardPass) => JSON.stringify([info.device, info.deterministic, info.tensorClasses]);
  return reference.model === engine.model && held(open) === held(beside);
}

async function scoresOf(
  open: OpenForwardPass,
  beside: OpenForwardPass | undefined,
  options: EvaluateOptions,
): Promise<readonly (WindowScore | WindowComparison)[]> {
  const sequences = typeof options.text === "string" ? [encode(open, options.text)] : options.text;
  const tokenCount = sequences.reduce((sum, { length }) => sum + length, 0);
  if (beside !== undefined) checkComparable(open, beside, options.text, sequences);
  const scores: (WindowScore | WindowComparison)[] = [];
  let done = 0;
  for (const window of windowsOf(sequences, open, beside)) {
    const score = await (beside === undefined ? scoreWindow(open, window) : compareWindow(open, beside, window));
    scores.push(score);
    done += score.tokens;
    options.onProgress?.(done, tokenCount);
  }
  if (done > 0) return scores;
  throw new KvantError("INVALID_ARGUMENT", `the text has ${tokenCount} tokens, none of which can be scored`);
}

function* windowsOf(
  sequences: readonly Int32Array[],
  open: OpenForwardPass,
  beside: OpenForwardPass | undefined,
): Generator<Window> {
  const contexts = [open.info.contextLength, beside?.info.contextLength ?? maxWindowTokens];
  const windowTokens = Math.min(...contexts, maxWindowTokens);
  for (const tokenIds of sequences) yield* windows(tokenIds, windowTokens, open.beginningOfSequenceId);
}

function encode({ tokenizer, info }: OpenForwardPass, text: string): Int32Array {
  if (tokenizer === undefined)
    throw new KvantError("TOKENIZER_ABSENT", `${info.name} has no tokenizer, so it cannot read a text`);
  return tokenizer.encode(text, { addBos: false });
}

/** Distributions can be compared position by position only over one vocabulary and after the same tokens. */
function checkComparable(
  open: OpenForwardPass,
  beside: OpenForwardPass,
  text: EvaluateOptions["text"],
  sequences: readonly Int32Array[],
): void {
  const refuse = (difference: string) => {
    const sentence = `${open.info.name} cannot be compared with ${beside.info.name}: ${difference}`;
    throw new KvantError("INVALID_ARGUMENT", sentence, { field: "reference" });
  };
  const [mine, theirs] = [open.info.vocabSize, beside.info.vocabSize];
  if (mine !== theirs) refuse(`their vocabularies have ${mine} and ${theirs} tokens`);
  if (open.beginningOfSequenceId !== beside.beginningOfSequenceId)
    refuse(
      `sequences begin with ${open.beginningOfSequenceId ?? "nothing"} and ${beside.beginningOfSequenceId ?? "nothing"}`,
    );
  if (typeof text !== "string") return;
  const [ids, others] = [sequences[0]!, encode(beside, text)];
  if (ids.length !== others.length || ids.some((id, i) => id !== others[i]))
    refuse("their tokenizers cut the text into different tokens");
}
