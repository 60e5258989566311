import { createEngine, type EngineOptions, type GenerateRequest, type LocalEngine, planModel } from "@kvant/engine";
import { loadAddon } from "@kvant/kernels";
import { decodeStepBytes } from "./live-bytes.ts";

export interface MeasureEngineOptions {
  readonly engine: EngineOptions;
  /** Sequences that decode together. */
  readonly batch: number;
  /** Tokens of each sequence before the measured decode. */
  readonly context: number;
  /** Tokens of the measured prefill; default: `context`. */
  readonly prompt?: number;
  /** Decode tokens per sequence and round. */
  readonly decodeTokens: number;
  /** Measured rounds; the bandwidth probe runs before, between and after them. */
  readonly rounds: number;
  readonly onProgress?: (phase: string) => void;
}

export interface EngineMeasurement {
  readonly shape: string;
  readonly weights: string;
  readonly activations: string;
  readonly kvFormat: string;
  readonly device: string;
  readonly backend: string;
  readonly tier: string;
  readonly threads: number;
  readonly variants: readonly string[];
  readonly batch: number;
  readonly context: number;
  readonly prompt: number;
  /** All sequences together. */
  readonly decodeTokensPerSecond: number;
  readonly prefillTokensPerSecond: number;
  /** Weight codes and scales, and the mean live KV, each once. */
  readonly bytesPerStep: number;
  readonly readGigabytesPerSecond: number;
  readonly probeReadGigabytesPerSecond: number;
  readonly percentOfProbe: number;
  readonly weightBytes: number;
  readonly kvBytesPerToken: number;
  readonly loadSeconds: number;
  readonly peakResidentBytes: number;
}

/** The probe reads this much memory; caches hold a small part of it. */
const probeBytes = 2 ** 30;

/**
 * Decode and prefill speed of one scheme, through the engine with scheduler and sampling, beside the machine's read
 * bandwidth measured in the same run (probe, bench, probe, bench, probe; medians).
 */
export async function measureEngine(options: MeasureEngineOptions): Promise<EngineMeasurement> {
  const { batch, context, decodeTokens, rounds, prompt = context, onProgress = () => undefined } = options;
  onProgress("loading");
  const engine = await createEngine({
    maxSequences: batch,
    contextLength: Math.max(context, prompt) + decodeTokens,
    prefixReuse: false,
    ...options.engine,
  });
  try {
    const { model } = engine;
    await decodeOnce(engine, { ...options, decodeTokens: 4 }, 0);
    const probes = [probe(model.threads)];
    const decodes: number[] = [];
    const prefills: number[] = [];
    for (let round = 1; round <= rounds; round++) {
      onProgress(`round ${round} of ${rounds}`);
      const first = await decodeOnce(engine, options, round);
      decodes.push(first.decodeTokensPerSecond);
      const isSame = prompt === context;
      prefills.push(
        isSame
          ? first.prefillTokensPerSecond
          : (await decodeOnce(engine, { ...options, context: prompt, decodeTokens: 1 }, -round)).prefillTokensPerSecond,
      );
      probes.push(probe(model.threads));
    }
    const decodeTokensPerSecond = median(decodes);
    const { plan, source } = planModel(options.engine);
    source.checkpoint?.close();
    const bytesPerStep = decodeStepBytes(plan, batch, context + decodeTokens / 2, model.pageTokens);
    const readGigabytesPerSecond = (bytesPerStep * decodeTokensPerSecond) / batch / 1e9;
    const probeReadGigabytesPerSecond = median(probes) / 1e9;
    return {
      shape: model.name,
      weights: model.weights,
      activations: model.activations,
      kvFormat: model.kvFormat,
      device: model.device,
      backend: model.backend,
      tier: model.tier,
      threads: model.threads,
      variants: engine.variants,
      batch,
      context,
      prompt,
      decodeTokensPerSecond,
      prefillTokensPerSecond: median(prefills),
      bytesPerStep,
      readGigabytesPerSecond,
      probeReadGigabytesPerSecond,
      percentOfProbe: (100 * readGigabytesPerSecond) / probeReadGigabytesPerSecond,
      weightBytes: Object.values(model.weightBytes).reduce((sum, bytes) => sum + bytes, 0),
      kvBytesPerToken: (model.kvBytes.codes + model.kvBytes.scales) / model.pageCount / model.pageTokens,
      loadSeconds: model.loadSeconds,
      peakResidentBytes: process.resourceUsage().maxRSS * 1024,
    };
  } finally {
    await engine.close();
  }
}

/** One round: all sequences prefill, then decode together. Rates are of the wall clock. */
async function decodeOnce(
  engine: LocalEngine,
  { batch, context, decodeTokens }: Pick<MeasureEngineOptions, "batch" | "context" | "decodeTokens">,
  round: number,
): Promise<{ decodeTokensPerSecond: number; prefillTokensPerSecond: number }> {
  const startedAt = performance.now();
  let firsts = 0;
  let tokens = 0;
  let allStartedAt = 0;
  let tokensAtStart = 0;
  await Promise.all(
    Array.from({ length: batch }, async (_, i) => {
      const request: GenerateRequest = {
        prompt: { kind: "tokens", tokenIds: promptIds(engine.model.vocabSize, context, round * batch + i) },
        maxTokens: decodeTokens,
        temperature: 0,
        ignoreEos: true,
      };
      let isFirst = true;
      for await (const event of engine.generate(request)) {
        if (event.type !== "delta") continue;
        tokens += event.tokenIds.length;
        if (!isFirst) continue;
        isFirst = false;
        if (++firsts < batch) continue;
        allStartedAt = performance.now();
        tokensAtStart = tokens;
      }
    }),
  );
  const decodeSeconds = (performance.now() - allStartedAt) / 1000;
  return {
    decodeTokensPerSecond: (tokens - tokensAtStart) / decodeSeconds,
    prefillTokensPerSecond: (batch * context) / ((allStartedAt - startedAt) / 1000),
  };
}

/** Ids that differ from sequence to sequence and stay clear of the special ids at the start of most vocabularies. */
function promptIds(vocabSize: number, count: number, salt: number): number[] {
  const low = Math.min(16, vocabSize - 1);
  return Array.from({ length: count }, (_, i) => low + ((((i + 1) * 7919 + salt * 104_729) >>> 0) % (vocabSize - low)));
}

/** Bytes per second that all threads together read; 0 where there is no addon. */
function probe(threads: number): number {
  return median(loadAddon().probeRead(probeBytes, threads, 3));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
