import { setImmediate as nextTurn } from "node:timers/promises";
import {
  createEngine,
  type EngineOptions,
  type GenerateRequest,
  groupPageBytes,
  type LocalEngine,
  type ModelInfo,
  planModel,
} from "@kvant/engine";
import { availableBackends, loadAddon } from "@kvant/kernels";
import { median } from "../median.ts";
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
  /** null without the addon, which holds the probe, and on devices that it cannot read. */
  readonly probeReadGigabytesPerSecond: number | null;
  readonly percentOfProbe: number | null;
  readonly weightBytes: number;
  readonly kvBytesPerToken: number;
  readonly loadSeconds: number;
  /** Of loading and running the model; the probe's own buffer does not count. */
  readonly peakResidentBytes: number;
}

/** The probe reads this much memory; caches hold a small part of it. */
const probeBytes = 2 ** 30;

/** The engine's defaults, written down because the measurement depends on them. */
const maxStepTokens = 256;
const pageTokens = 16;

/**
 * Decode and prefill speed of one scheme, through the engine with scheduler and sampling, beside the machine's read
 * bandwidth measured in the same run (probe, bench, probe, bench, probe; medians).
 */
export async function measureEngine(options: MeasureEngineOptions): Promise<EngineMeasurement> {
  const { batch, context, decodeTokens, rounds, prompt = context, onProgress = () => undefined } = options;
  onProgress("loading");
  const contextLength = Math.max(context, prompt) + decodeTokens + headStart(batch, Math.max(context, prompt));
  const engine = await createEngine({
    maxSequences: batch,
    contextLength,
    prefixReuse: false,
    maxStepTokens,
    pageTokens,
    kvPages: 1 + batch * Math.ceil(contextLength / pageTokens),
    swapMemoryBytes: 0, // nothing is preempted
    ...options.engine,
  });
  try {
    const { model } = engine;
    await decodeOnce(engine, { ...options, decodeTokens: 4 }, 0);
    let peakResidentBytes = process.resourceUsage().maxRSS * 1024;
    const probes = [probe(model)];
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
      peakResidentBytes = Math.max(peakResidentBytes, process.memoryUsage.rss());
      probes.push(probe(model));
    }
    const decodeTokensPerSecond = median(decodes);
    const { plan, source } = planModel(options.engine);
    source.checkpoint?.close();
    const liveTokens = context + (decodeTokens + headStart(batch, context)) / 2;
    const bytesPerStep = decodeStepBytes(plan, batch, liveTokens, model.pageTokens);
    const readGigabytesPerSecond = (bytesPerStep * decodeTokensPerSecond) / batch / 1e9;
    const probed = probes.filter((rate) => rate !== undefined);
    const probeReadGigabytesPerSecond = probed.length === 0 ? null : median(probed) / 1e9;
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
      percentOfProbe:
        probeReadGigabytesPerSecond === null ? null : (100 * readGigabytesPerSecond) / probeReadGigabytesPerSecond,
      weightBytes: Object.values(model.weightBytes).reduce((sum, bytes) => sum + bytes, 0),
      kvBytesPerToken:
        plan.kvGroups.reduce((sum, group) => sum + groupPageBytes(group, model.pageTokens), 0) / model.pageTokens,
      loadSeconds: model.loadSeconds,
      peakResidentBytes,
    };
  } finally {
    await engine.close();
  }
}

/** Tokens that the first of several sequences may decode while the last one's prompt is still being computed. */
function headStart(batch: number, context: number): number {
  return batch === 1 ? 0 : Math.ceil((batch * context) / maxStepTokens) + 2;
}

/**
 * One round: all sequences prefill, then decode together. The decode is timed from the moment the last sequence has its
 * first token, over `decodeTokens - 1` tokens per sequence, and no sequence ends before: every timed step is a full batch.
 */
async function decodeOnce(
  engine: LocalEngine,
  { batch, context, decodeTokens }: Pick<MeasureEngineOptions, "batch" | "context" | "decodeTokens">,
  round: number,
): Promise<{ decodeTokensPerSecond: number; prefillTokensPerSecond: number }> {
  const startedAt = performance.now();
  let firsts = 0;
  let tokens = 0;
  let allStartedAt = 0;
  let allEndedAt = 0;
  let tokensAtStart = 0;
  let tokensAtEnd = Number.POSITIVE_INFINITY;
  async function read(index: number): Promise<void> {
    const request: GenerateRequest = {
      prompt: { kind: "tokens", tokenIds: promptIds(engine.model.vocabSize, context, round * batch + index) },
      maxTokens: decodeTokens + headStart(batch, context),
      temperature: 0,
      ignoreEos: true,
    };
    let isFirst = true;
    for await (const event of engine.generate(request)) {
      if (event.type !== "delta") continue;
      tokens += event.tokenIds.length;
      if (isFirst && ++firsts === batch) {
        allStartedAt = performance.now();
        tokensAtStart = tokens;
        tokensAtEnd = tokens + batch * (decodeTokens - 1);
      }
      isFirst = false;
      if (tokens < tokensAtEnd) continue;
      if (allEndedAt === 0) allEndedAt = performance.now();
      return;
    }
  }
  await Promise.all(Array.from({ length: batch }, (_, index) => read(index)));
  // Steps in flight for sequences that were left must not run into the next measurement.
  while (engine.stats().pages.used > 0) await nextTurn();
  return {
    decodeTokensPerSecond: (tokensAtEnd - tokensAtStart) / ((allEndedAt - allStartedAt) / 1000),
    prefillTokensPerSecond: (batch * context) / ((allStartedAt - startedAt) / 1000),
  };
}

/** Ids that differ from sequence to sequence and stay clear of the special ids at the start of most vocabularies. */
function promptIds(vocabSize: number, count: number, salt: number): number[] {
  const low = Math.min(16, vocabSize - 1);
  return Array.from({ length: count }, (_, i) => low + ((((i + 1) * 7919 + salt * 104_729) >>> 0) % (vocabSize - low)));
}

/** Bytes per second that all threads together read; undefined without an addon, and for devices with memory of their own. */
function probe({ device, threads }: ModelInfo): number | undefined {
  const hasAddon = availableBackends().some(({ name, create }) => name.startsWith("cpu") && create !== undefined);
  if (!hasAddon || device !== "cpu") return undefined;
  return median(loadAddon().probeRead(probeBytes, threads, 3));
}
