import { KvantError } from "@kvant/core";
import { type ForwardPassModel, type LoadProgress, type OpenForwardPass, openForwardPass } from "@kvant/engine";
import { klDivergence, negativeLogLikelihood } from "./divergence.ts";
import { type Window, windows } from "./windows.ts";

/** Longest window; comparable between models of any longer context. */
const maxWindowTokens = 1024;

export interface EvaluateOptions {
  readonly engine: ForwardPassModel;
  readonly text: string;
  /** Also measure the KL divergence from the same model with a BF16 KV cache. */
  readonly divergence: boolean;
  /** Of the model, then of the one with a BF16 KV cache where that is compared with. */
  readonly onLoad?: (progress: LoadProgress) => void;
  /** Text tokens evaluated so far and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Evaluation {
  readonly model: string;
  readonly weights: string;
  readonly activations: string;
  readonly kvFormat: string;
  readonly device: string;
  readonly backend: string;
  readonly tier: string;
  readonly variants: readonly string[];
  /** Tokens scored. */
  readonly tokens: number;
  /** exp of the mean negative log-likelihood per token. */
  readonly perplexity: number;
  /** Negative log-likelihood in bits over the UTF-8 bytes of the text. */
  readonly bitsPerByte: number;
  /** Mean nats per token of KL(BF16 KV || this KV); null when not measured. */
  readonly klVsBf16Kv: number | null;
  readonly seconds: number;
}

/**
 * Perplexity and bits per byte of a text, through the same paged path as serving. Windows of min(context, 1024) tokens that
 * begin with the beginning of sequence, stride half a window, each token scored once.
 * @throws TOKENIZER_ABSENT, INVALID_ARGUMENT for a text without a token to score, and what loading a model throws
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const startedAt = performance.now();
  const model = { mostTokens: maxWindowTokens, ...options.engine };
  const open = await openForwardPass(model, options.onLoad);
  const isBaseline = open.info.kvFormat === "bf16";
  let baseline: OpenForwardPass | undefined;
  try {
    if (options.divergence && !isBaseline)
      baseline = await openForwardPass({ ...model, kvFormat: "bf16" }, options.onLoad);
    const { info } = open;
    const { nats, divergence, tokens } = await score(open, baseline, options);
    return {
      model: info.name,
      weights: info.weights,
      activations: info.activations,
      kvFormat: info.kvFormat,
      device: info.device,
      backend: info.backend,
      tier: info.tier,
      variants: open.variants,
      tokens,
      perplexity: Math.exp(nats / tokens),
      bitsPerByte: nats / Math.LN2 / Buffer.byteLength(options.text),
      klVsBf16Kv: isBaseline ? 0 : baseline === undefined ? null : divergence / tokens,
      seconds: (performance.now() - startedAt) / 1000,
    };
  } finally {
    await Promise.all([open.close(), baseline?.close()]);
  }
}

async function score(
  open: OpenForwardPass,
  baseline: OpenForwardPass | undefined,
  { text, onProgress }: EvaluateOptions,
): Promise<{ nats: number; divergence: number; tokens: number }> {
  const { tokenizer, info } = open;
  if (tokenizer === undefined)
    throw new KvantError("TOKENIZER_ABSENT", `${info.name} has no tokenizer, so it cannot read a text`);
  const tokenIds = tokenizer.encode(text, { addBos: false });
  let nats = 0;
  let divergence = 0;
  let tokens = 0;
  for (const window of windows(tokenIds, Math.min(info.contextLength, maxWindowTokens), open.beginningOfSequenceId)) {
    const result = await (baseline === undefined ? scoreWindow(open, window) : compareWindow(open, baseline, window));
    nats += result.nats;
    divergence += result.divergence;
    tokens += window.tokenIds.length - 1 - window.from;
    onProgress?.(tokens, tokenIds.length);
  }
  if (tokens === 0)
    throw new KvantError("INVALID_ARGUMENT", `the text has ${tokenIds.length} tokens, none of which can be scored`);
  return { nats, divergence, tokens };
}

async function scoreWindow(
  open: OpenForwardPass,
  { tokenIds, from }: Window,
): Promise<{ nats: number; divergence: number }> {
  const scores = await open.pass.scores(tokenIds, from);
  return { nats: -scores.reduce((sum, value) => sum + value, 0), divergence: 0 };
}

async function compareWindow(
  open: OpenForwardPass,
  baseline: OpenForwardPass,
  { tokenIds, from }: Window,
): Promise<{ nats: number; divergence: number }> {
  const inputs = tokenIds.subarray(0, -1);
  const { vocabSize } = open.info;
  const candidates = open.pass.logitChunks(inputs, from);
  const references = baseline.pass.logitChunks(inputs, from);
  let nats = 0;
  let divergence = 0;
  for (;;) {
    const [candidate, reference] = await Promise.all([candidates.next(), references.next()]);
    if (candidate.done || reference.done) return { nats, divergence };
    const { start, logits } = candidate.value;
    // Row by row, so that the order of additions does not depend on the chunks.
    for (let row = 0; row * vocabSize < logits.length; row++) {
      const q = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
      const p = reference.value.logits.subarray(row * vocabSize, (row + 1) * vocabSize);
      const target = tokenIds.subarray(start + row + 1, start + row + 2);
      nats += negativeLogLikelihood(q, target, vocabSize);
      divergence += klDivergence(p, q, vocabSize);
    }
  }
}
