import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Engine, GenerateRequest, TokenLogprob } from "../engine.ts";
import type { EngineOptions } from "../engine-options.ts";
import { createEngine } from "../local-engine.ts";
import { greedyRequest, runTogether, tokens } from "./golden.ts";

// 768 pairs of a sequence and a KV head: a GPU has fewer blocks, so each block attends for several.
const sequenceCount = 96;
const outputTokens = 24;
/** Of so many sequences one is run alone too; some of those have long prompts. */
const comparedEvery = 3;
const promptTokens = { most: 64, longEvery: 8, long: 200 };

/** Heads of 64 and rows of whole lines, as served models have them: what the fast kernels need. */
const shape = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 512,
  intermediate_size: 1024,
  num_hidden_layers: 3,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  head_dim: 64,
  vocab_size: 512,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 500000,
  dtype: "bfloat16",
};

/** How far sequences of a batch are from what each gets alone. */
export interface CrowdDistance {
  /** The most sequences that ran together. */
  readonly fullest: number;
  /** Tokens up to the first that differs, of all sequences compared. */
  readonly compared: number;
  /** Largest difference of a log probability before that, and of a token drawn in the batch to the best alone. */
  readonly worst: number;
  /** Where it was met. */
  readonly sequence: number;
}

/**
 * Greedy sequences of a model with random weights, together and each alone, compared by log probability: tokens may differ where
 * kernels round by the size of a batch.
 */
export async function crowdDistance(options: Omit<EngineOptions, "model" | "load">): Promise<CrowdDistance> {
  const folder = mkdtempSync(join(tmpdir(), "kvant-crowd-"));
  try {
    writeFileSync(join(folder, "config.json"), JSON.stringify(shape));
    const engine = await createEngine({
      ...options,
      model: folder,
      load: "dummy",
      maxSequences: sequenceCount,
      maxStepTokens: 1024,
      prefixReuse: false,
    });
    try {
      return await measure(engine);
    } finally {
      await engine.close();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What is wrong where a log probability moves by more than `limit`: sentences, none when all is well. */
export async function crowdFailures(
  options: Omit<EngineOptions, "model" | "load">,
  limit: number,
): Promise<readonly string[]> {
  const { fullest, compared, worst, sequence } = await crowdDistance(options);
  const failures: string[] = [];
  if (fullest < sequenceCount) failures.push(`at most ${fullest} of ${sequenceCount} sequences ran together`);
  // Chance makes tokens differ where two are as likely, but not soon in most sequences.
  const least = ((sequenceCount / comparedEvery) * outputTokens) / 4;
  if (compared < least) failures.push(`only ${compared} tokens before the first that differs, ${least} expected`);
  if (!(worst <= limit)) failures.push(`sequence ${sequence} is ${worst} from alone, at most ${limit} expected`);
  return failures;
}

async function measure(engine: Engine): Promise<CrowdDistance> {
  const { most, longEvery, long } = promptTokens;
  const requests = Array.from({ length: sequenceCount }, (_, index) => ({
    ...greedyRequest(tokens(index % longEvery === 0 ? long : 1 + (index % most), index), outputTokens),
    logprobs: 8,
  }));
  const { results: together, fullest } = await runTogether(engine, requests, generateTokens);
  let compared = 0;
  const distances: number[] = [];
  for (let index = 0; index < sequenceCount; index += comparedEvery) {
    const request = requests[index]!;
    const alone = await generateTokens(engine, request);
    const batched = together[index]!;
    const other = alone.findIndex(({ tokenId }, step) => batched[step]!.tokenId !== tokenId);
    const same = other < 0 ? outputTokens : other;
    compared += same;
    const moved = alone.slice(0, same).map(({ logprob }, step) => Math.abs(batched[step]!.logprob - logprob));
    distances.push(Math.max(...moved, other < 0 ? 0 : behindBest(alone[other]!, batched[other]!.tokenId)));
  }
  const worst = Math.max(...distances);
  const sequence = comparedEvery * distances.findIndex((distance) => Object.is(distance, worst));
  return { fullest, compared, worst, sequence };
}

/** How much less likely `tokenId` is than the token drawn; infinite for one that is not among the listed. */
function behindBest({ logprob, top }: TokenLogprob, tokenId: number): number {
  const other = top.find((each) => each.tokenId === tokenId);
  return other === undefined ? Infinity : logprob - other.logprob;
}

async function generateTokens(engine: Engine, request: GenerateRequest): Promise<TokenLogprob[]> {
  const result: TokenLogprob[] = [];
  for await (const event of engine.generate(request)) {
    if (event.type === "delta") result.push(...event.logprobs);
  }
  return result;
}
