import { KvantError } from "@kvant/core";
import { createEngine, type EngineOptions, type LoadProgress, type LocalEngine, openModel } from "@kvant/engine";
import { maxWindowTokens } from "./windows.ts";

/** Sequences that are drawn together; the tokens do not depend on it. */
const lanes = 16;
const pageTokens = 16;
/** Room between the seeds of two runs: sequence i of one draws from a stream of its own. */
const sequencesPerSeed = 2 ** 20;

export interface GenerateSequencesOptions {
  readonly engine: EngineOptions;
  /** In all. */
  readonly tokenCount: number;
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  readonly onLoad?: (progress: LoadProgress) => void;
  /** Tokens drawn so far and in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Text as a model itself writes it, to evaluate on: token ids drawn from its distribution (temperature 1, nothing cut off),
 * never turned to text and back. Each sequence follows the beginning of sequence and ends with the end of sequence or a whole
 * window. On it the mean difference to this model's negative log-likelihood estimates KL(model || candidate).
 * @returns sequences of `tokenCount` ids together, without beginning of sequence; the same for the same seed
 * @throws INVALID_ARGUMENT for a model without beginning of sequence, a count or a seed out of range; what loading throws
 */
export async function generateSequences(options: GenerateSequencesOptions): Promise<readonly Int32Array[]> {
  const { engine: chosen, tokenCount, seed, onLoad, onProgress } = options;
  checkRange("tokenCount", tokenCount, 1, lanes * sequencesPerSeed);
  checkRange("seed", seed, 0, 2 ** 32 - 1);
  const { beginning, windowTokens } = start(chosen);
  const engine = await createEngine(
    {
      ...chosen,
      maxSequences: lanes,
      contextLength: windowTokens,
      pageTokens,
      kvPages: 1 + lanes * Math.ceil(windowTokens / pageTokens),
      swapMemoryBytes: 0, // nothing is preempted
      prefixReuse: false,
      deterministic: true,
    },
    onLoad === undefined ? {} : { onProgress: onLoad },
  );
  try {
    const sequences: Int32Array[] = [];
    let [count, next] = [0, 0];
    while (count < tokenCount) {
      const missing = Math.ceil((tokenCount - count) / (windowTokens - 1));
      const draws = Array.from({ length: Math.min(lanes, missing) }, () =>
        draw(engine, beginning, windowTokens - 1, seed * sequencesPerSeed + next++),
      );
      for (const tokenIds of await Promise.all(draws)) {
        const wanted = tokenIds.subarray(0, tokenCount - count);
        if (wanted.length > 0) sequences.push(wanted);
        count += wanted.length;
      }
      onProgress?.(count, tokenCount);
    }
    return sequences;
  } finally {
    await engine.close();
  }
}

function start(engine: EngineOptions): { readonly beginning: number; readonly windowTokens: number } {
  const { config, name, checkpoint } = openModel(engine);
  checkpoint?.close();
  const [beginning] = config.bosTokenIds;
  if (beginning === undefined)
    throw new KvantError("INVALID_ARGUMENT", `${name} has no beginning of sequence to generate a text from`);
  const contextLength = Math.min(config.contextLength, engine.contextLength ?? maxWindowTokens);
  return { beginning, windowTokens: Math.min(contextLength, maxWindowTokens) };
}

/** One sequence of at most `maxTokens` ids; an end of sequence is its last. */
async function draw(engine: LocalEngine, beginning: number, maxTokens: number, seed: number): Promise<Int32Array> {
  const tokenIds: number[] = [];
  const prompt = { kind: "tokens", tokenIds: [beginning] } as const;
  for await (const event of engine.generate({ prompt, maxTokens, temperature: 1, seed })) {
    if (event.type === "delta") tokenIds.push(...event.tokenIds);
    else if (event.type === "finish" && event.stopTokenId !== undefined) tokenIds.push(event.stopTokenId);
  }
  return Int32Array.from(tokenIds);
}

function checkRange(field: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && low <= value && value <= high) return;
  throw new KvantError("INVALID_ARGUMENT", `${field} is ${value}; it must be an integer from ${low} to ${high}`, {
    field,
  });
}
