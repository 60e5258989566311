import { setImmediate as nextTurn } from "node:timers/promises";
import {
  createEngine,
  defaultStepTokens,
  type EngineOptions,
  type GenerateRequest,
  groupPageBytes,
  type LoadProgress,
  type LocalEngine,
  type ModelInfo,
  planModel,
} from "@kvant/engine";
import { planCost } from "@kvant/kernels";
import { median } from "../median.ts";
import { percentiles } from "../percentiles.ts";
import { type ComputeKind, computeKinds, probesOf } from "../probes.ts";
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
  /** How long rounds that are not measured go on, at least one of them. Default 5. */
  readonly warmUpSeconds?: number;
  /** Tokens of one step; default: the engine's. */
  readonly maxStepTokens?: number;
  readonly onProgress?: (phase: string) => void;
  readonly onLoad?: (progress: LoadProgress) => void;
}

export interface EngineMeasurement {
  readonly shape: string;
  readonly weights: string;
  readonly activations: string;
  /** Of the output head. */
  readonly headFormat: string | undefined;
  readonly kvFormat: string;
  readonly device: string;
  readonly backend: string;
  readonly tier: string;
  readonly threads: number;
  readonly variants: readonly string[];
  readonly batch: number;
  readonly context: number;
  readonly prompt: number;
  readonly maxStepTokens: number;
  readonly deterministic: boolean;
  /** All sequences together. */
  readonly decodeTokensPerSecond: number;
  readonly prefillTokensPerSecond: number;
  /** Weight codes and scales, and the mean live KV, each once. */
  readonly bytesPerStep: number;
  readonly readGigabytesPerSecond: number;
  /** null without the addon, which holds the probe. */
  readonly probeReadGigabytesPerSecond: number | null;
  readonly percentOfProbe: number | null;
  /**
   * Between the plans of two decode steps, where the backend tells: scheduling and whatever else the step thread waits for.
   * Two steps are in flight, so it is only what the running one does not hide. null where the backend does not tell.
   */
  readonly gapMicroseconds: { readonly p50: number; readonly p99: number } | null;
  /** Multiplications and additions of matrix products and attention per second of prefill. */
  readonly prefillTeraOperationsPerSecond: number;
  /** Of the multipliers that the scheme's activations run on. */
  readonly probeMatmulTeraOperationsPerSecond: number | null;
  readonly prefillPercentOfProbe: number | null;
  readonly weightBytes: number;
  readonly kvBytesPerToken: number;
  readonly loadSeconds: number;
  /** Of loading and running the model; the probe's own buffer does not count. */
  readonly peakResidentBytes: number;
}

/** The engine's default, written down because the measurement depends on it. */
const pageTokens = 16;
/** Decode tokens of a round that is not measured, as far as a short context has room for them. */
const fewestWarmUpTokens = 4;
const mostWarmUpTokens = 32;
/** By then V8 has compiled what runs between the plans, which a server does once in its life. */
const defaultWarmUpSeconds = 5;

/**
 * Decode and prefill speed of one scheme, through the engine with scheduler and sampling, beside the machine's read
 * bandwidth and multipliers measured in the same run (probe, bench, probe, bench, probe; medians).
 */
export async function measureEngine(options: MeasureEngineOptions): Promise<EngineMeasurement> {
  const { batch, context, decodeTokens, rounds, prompt = context, onProgress = () => undefined } = options;
  onProgress("loading");
  const { device = "cpu" } = options.engine;
  const maxStepTokens = options.maxStepTokens ?? defaultStepTokens(device);
  const round = { batch, context, decodeTokens, maxStepTokens };
  const warmUpTokens = Math.max(fewestWarmUpTokens, Math.min(mostWarmUpTokens, decodeTokens));
  const contextLength = Math.max(
    context + Math.max(decodeTokens, warmUpTokens) + headStart(round),
    prompt + 1 + headStart({ ...round, context: prompt }),
  );
  const engine = await createEngine(
    {
      maxSequences: batch,
      contextLength,
      prefixReuse: false,
      maxStepTokens,
      pageTokens,
      kvPages: 1 + batch * Math.ceil(contextLength / pageTokens),
      swapMemoryBytes: 0, // nothing is preempted
      ...options.engine,
    },
    options.onLoad === undefined ? {} : { onProgress: options.onLoad },
  );
  try {
    const { model } = engine;
    const warmUpEndsAt = performance.now() + 1000 * (options.warmUpSeconds ?? defaultWarmUpSeconds);
    do await decodeOnce(engine, { ...round, decodeTokens: warmUpTokens }, 0);
    while (performance.now() < warmUpEndsAt);
    const isSame = prompt === context;
    const prefillOnce = (salt: number) => decodeOnce(engine, { ...round, context: prompt, decodeTokens: 1 }, salt);
    if (!isSame) {
      // A size of steps that comes again may be prepared for: cuda records it the second time.
      await prefillOnce(0);
      await prefillOnce(0);
    }
    let peakResidentBytes = process.resourceUsage().maxRSS * 1024;
    const probes = probesOf({ device, threads: model.threads, tier: model.tier });
    const multipliers = computeKindOf(model);
    const reads: number[] = [];
    const peaks: number[] = [];
    const probe = (): void => {
      if (probes === undefined) return;
      reads.push(probes.read());
      peaks.push(probes.compute(multipliers));
    };
    probe();
    const decodes: number[] = [];
    const gaps: number[] = [];
    const prefills: number[] = [];
    for (let index = 1; index <= rounds; index++) {
      onProgress(`round ${index} of ${rounds}`);
      const first = await decodeOnce(engine, round, index);
      gaps.push(...first.gapSeconds);
      decodes.push(first.decodeTokensPerSecond);
      prefills.push((isSame ? first : await prefillOnce(-index)).prefillTokensPerSecond);
      peakResidentBytes = Math.max(peakResidentBytes, process.memoryUsage.rss());
      probe();
    }
    const decodeTokensPerSecond = median(decodes);
    const { plan, source } = planModel(options.engine);
    source.checkpoint?.close();
    const liveTokens = context + (decodeTokens + headStart(round)) / 2;
    const bytesPerStep = decodeStepBytes(plan, batch, liveTokens, model.pageTokens);
    const readGigabytesPerSecond = (bytesPerStep * decodeTokensPerSecond) / batch / 1e9;
    const probeReadGigabytesPerSecond = reads.length === 0 ? null : median(reads) / 1e9;
    const prefillTokensPerSecond = median(prefills);
    const { operations } = planCost(plan, { tokens: prompt, contexts: [prompt] });
    const prefillTeraOperationsPerSecond = ((operations / prompt) * prefillTokensPerSecond) / 1e12;
    const probeMatmulTeraOperationsPerSecond = peaks.length === 0 ? null : median(peaks) / 1e12;
    return {
      shape: model.name,
      weights: model.weights,
      activations: model.activations,
      headFormat: model.tensorClasses.find((row) => row.class === "head")?.format,
      kvFormat: model.kvFormat,
      device: model.device,
      backend: model.backend,
      tier: model.tier,
      threads: model.threads,
      variants: engine.variants,
      batch,
      context,
      prompt,
      maxStepTokens,
      deterministic: model.deterministic,
      decodeTokensPerSecond,
      prefillTokensPerSecond,
      bytesPerStep,
      readGigabytesPerSecond,
      probeReadGigabytesPerSecond,
      percentOfProbe:
        probeReadGigabytesPerSecond === null ? null : (100 * readGigabytesPerSecond) / probeReadGigabytesPerSecond,
      gapMicroseconds: gapMicroseconds(gaps),
      prefillTeraOperationsPerSecond,
      probeMatmulTeraOperationsPerSecond,
      prefillPercentOfProbe:
        probeMatmulTeraOperationsPerSecond === null
          ? null
          : (100 * prefillTeraOperationsPerSecond) / probeMatmulTeraOperationsPerSecond,
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

function gapMicroseconds(seconds: readonly number[]): EngineMeasurement["gapMicroseconds"] {
  if (seconds.length === 0) return null;
  const [p50, p99] = percentiles(seconds, [50, 99]);
  return { p50: 1e6 * p50!, p99: 1e6 * p99! };
}

interface Round {
  readonly batch: number;
  readonly context: number;
  readonly decodeTokens: number;
  readonly maxStepTokens: number;
}

/** Tokens that the first of several sequences may decode while the last one's prompt is still being computed. */
function headStart({ batch, context, maxStepTokens }: Omit<Round, "decodeTokens">): number {
  return batch === 1 ? 0 : Math.ceil((batch * context) / maxStepTokens) + 2;
}

/**
 * One round: all sequences prefill, then decode together. The decode is timed from the moment the last sequence has its
 * first token, over `decodeTokens - 1` tokens per sequence, and no sequence ends before: every timed step is a full batch.
 */
async function decodeOnce(
  engine: LocalEngine,
  { batch, context, decodeTokens, maxStepTokens }: Round,
  salt: number,
): Promise<{ decodeTokensPerSecond: number; prefillTokensPerSecond: number; gapSeconds: number[] }> {
  const gapSeconds: number[] = [];
  const forget = engine.observe({
    step(step) {
      const isTimed = allStartedAt !== 0 && allEndedAt === 0;
      if (isTimed && step.kind === "decode" && step.gapSeconds !== undefined) gapSeconds.push(step.gapSeconds);
    },
  });
  const startedAt = performance.now();
  let firsts = 0;
  let tokens = 0;
  let allStartedAt = 0;
  let allEndedAt = 0;
  let tokensAtStart = 0;
  let tokensAtEnd = Number.POSITIVE_INFINITY;
  async function read(index: number): Promise<void> {
    const request: GenerateRequest = {
      prompt: { kind: "tokens", tokenIds: promptIds(engine.model.vocabSize, context, salt * batch + index) },
      maxTokens: decodeTokens + headStart({ batch, context, maxStepTokens }),
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
  forget();
  // Steps in flight for sequences that were left must not run into the next measurement.
  while (engine.stats().pages.used > 0) await nextTurn();
  return {
    decodeTokensPerSecond: (tokensAtEnd - tokensAtStart) / ((allEndedAt - allStartedAt) / 1000),
    prefillTokensPerSecond: (batch * context) / ((allStartedAt - startedAt) / 1000),
    gapSeconds,
  };
}

/** Ids that differ from sequence to sequence and stay clear of the special ids at the start of most vocabularies. */
export function promptIds(vocabSize: number, count: number, salt: number): number[] {
  const low = Math.min(16, vocabSize - 1);
  return Array.from({ length: count }, (_, i) => low + ((((i + 1) * 7919 + salt * 104_729) >>> 0) % (vocabSize - low)));
}

/** The multipliers of most of the model's products. */
function computeKindOf({ activations }: ModelInfo): ComputeKind {
  return computeKinds.find((kind) => kind === activations) ?? "fp32";
}
