import { createEngine, type EngineOptions, type LoadProgress, type LocalEngine, openModel } from "@kvant/engine";
import { measureEngine, promptIds } from "../engine/measure-engine.ts";
import { median } from "../median.ts";

const longestPrompt = 128;
const longestDecode = 32;
/** Later requests that the warm first token is the median of. */
const warmRequests = 5;
const rounds = 2;
const warmUpSeconds = 1;

/** What a scheme costs, beside which its quality is read. One sequence at a time. */
export interface SchemeCost {
  /** Of every prompt, those of the first tokens and of the prefill. */
  readonly promptTokens: number;
  readonly loadSeconds: number;
  /** From the start of loading to the first token of the first request. */
  readonly coldFirstTokenSeconds: number;
  /** From the request to its first token, median of the five requests after the first; no prefix is shared. */
  readonly warmFirstTokenSeconds: number;
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
  /** Of the process, after loading and these requests. On a GPU the weights are in the device's memory, not in this. */
  readonly peakResidentBytes: number;
}

export interface MeasureCostOptions {
  readonly engine: EngineOptions;
  readonly onLoad?: (progress: LoadProgress) => void;
}

/**
 * Latency, speed and memory of one scheme. To be called first thing in a process of its own: peak memory is the process's, and
 * a cold start includes what Node compiles on the way. The files may lie in the system's cache all the same.
 * @throws what loading a model throws
 */
export async function measureCost({ engine, onLoad }: MeasureCostOptions): Promise<SchemeCost> {
  const { promptTokens, decodeTokens } = lengths(engine);
  const hooks = onLoad === undefined ? {} : { onProgress: onLoad };
  const size = { maxSequences: 1, contextLength: promptTokens + decodeTokens, prefixReuse: false };
  const startedAt = performance.now();
  const cold = await createEngine({ ...size, ...engine }, hooks);
  const seconds: number[] = [];
  try {
    for (let index = 0; index <= warmRequests; index++) {
      const since = index === 0 ? startedAt : performance.now();
      const prompt = promptIds(cold.model.vocabSize, promptTokens, index);
      seconds.push(((await firstTokenAt(cold, prompt, decodeTokens)) - since) / 1000);
    }
  } finally {
    await cold.close();
  }
  const peakResidentBytes = process.resourceUsage().maxRSS * 1024;
  const [coldFirstTokenSeconds, ...warm] = seconds;
  const speed = await measureEngine({ engine, batch: 1, context: promptTokens, decodeTokens, rounds, warmUpSeconds });
  return {
    promptTokens,
    loadSeconds: cold.model.loadSeconds,
    coldFirstTokenSeconds: coldFirstTokenSeconds!,
    warmFirstTokenSeconds: median(warm),
    prefillTokensPerSecond: speed.prefillTokensPerSecond,
    decodeTokensPerSecond: speed.decodeTokensPerSecond,
    peakResidentBytes,
  };
}

/** Long prompts and decodes, less where the context is short. */
function lengths(engine: EngineOptions): { readonly promptTokens: number; readonly decodeTokens: number } {
  const { config, checkpoint } = openModel(engine);
  checkpoint?.close();
  const context = Math.min(config.contextLength, engine.contextLength ?? config.contextLength);
  return {
    promptTokens: Math.min(longestPrompt, context >> 1),
    decodeTokens: Math.min(longestDecode, context >> 2),
  };
}

/** Runs a request to its end. @returns when its first token came, by `performance.now` */
async function firstTokenAt(engine: LocalEngine, tokenIds: readonly number[], maxTokens: number): Promise<number> {
  let at = Number.NaN;
  const request = { prompt: { kind: "tokens", tokenIds }, maxTokens, temperature: 0, ignoreEos: true } as const;
  for await (const event of engine.generate(request)) {
    if (event.type === "delta" && Number.isNaN(at)) at = performance.now();
  }
  return at;
}
