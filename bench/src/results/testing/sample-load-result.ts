import type { LatencySummary, LoadLevel, LoadResult } from "../../load/load-result.ts";
import { percentiles } from "../../percentiles.ts";
import { RandomSource } from "../../workload/random-source.ts";

export interface SampleLoadOptions {
  readonly seed?: number;
  /** Streams of each level. */
  readonly streams?: readonly number[];
  /** What all latencies are multiplied by; throughput is divided by it. */
  readonly slowness?: number;
  readonly requests?: number;
}

/** A result as a sweep over a small server leaves it, with figures in the sizes that one sees. */
export function sampleLoadResult({
  seed = 1,
  streams = [1, 4, 16, 64],
  slowness = 1,
  requests = 600,
}: SampleLoadOptions = {}): LoadResult {
  return {
    kind: "kvant-load",
    version: 1,
    startedAt: "2026-03-01T12:00:00.000Z",
    machine: {
      cpu: "AMD EPYC 9B14",
      cores: 8,
      memoryBytes: 33_554_432_000,
      platform: "linux-x64",
      accelerators: [],
    },
    software: { kvant: "0.1.0", node: "20.19.4" },
    server: {
      target: "http://127.0.0.1:8000",
      model: "tiny",
      dialect: "openai-completions",
      software: "kvant 0.1.0",
      scheme: { weights: "int8-channel", activations: "int8", kvFormat: "int8", device: "cpu" },
    },
    flags: { url: "http://127.0.0.1:8000", concurrency: streams.join(","), requests: String(requests), seed },
    seed,
    workload: "random prompts of 200 to 800 tokens, 128 tokens out, closed loop",
    objectives: { ttft: 0.5, itl: 0.05 },
    client: { workers: 2, tokensPerSecond: 61_200, addedP99Seconds: 0.0011 },
    warnings: ["In level 64 streams a worker used 83 % of its core: latencies may be the client's own."],
    levels: streams.map((count) => sampleLevel({ seed, streams: count, slowness, requests })),
  };
}

/** Tokens of an answer. */
const outputTokens = 128;
const binSeconds = 0.5;

function sampleLevel({
  seed,
  streams,
  slowness,
  requests,
}: Required<Omit<SampleLoadOptions, "streams">> & { streams: number }): LoadLevel {
  const random = new RandomSource(seed, `sample ${streams}`);
  const pause = slowness * 0.008 * (1 + streams / 24);
  const spread = (median: number, sigma: number): number => median * Math.exp(sigma * random.normal());
  const timeToFirstToken = Array.from({ length: requests }, () => spread(slowness * 0.03 * (1 + streams / 4), 0.35));
  const timePerOutputToken = Array.from({ length: requests }, () => spread(pause, 0.08));
  const endToEnd = timeToFirstToken.map((first, i) => first + (outputTokens - 1) * timePerOutputToken[i]!);
  const gaps = Array.from({ length: 20 * requests }, () => spread(pause, 0.3));
  const failed = streams > 32 ? 3 : 0;
  const seconds = endToEnd.reduce((sum, value) => sum + value, 0) / streams;
  const outputTokensPerSecond = (requests * outputTokens) / seconds;
  const bins = Math.max(20, Math.round(seconds / binSeconds));
  const series = (median: number, sigma = 0.05): number[] => Array.from({ length: bins }, () => spread(median, sigma));
  return {
    name: `${streams} ${streams === 1 ? "stream" : "streams"}`,
    concurrency: streams,
    seconds: bins * binSeconds,
    requests: requests + failed,
    completed: requests,
    failures: failed === 0 ? {} : { status: failed },
    failureExamples: failed === 0 ? {} : { status: "status 429: the queue holds 64 requests | <try later>" },
    promptTokens: 500 * requests,
    outputTokens: outputTokens * requests,
    countedBy: { usage: requests },
    outputTokensPerSecond,
    totalTokensPerSecond: (outputTokensPerSecond * (500 + outputTokens)) / outputTokens,
    requestsCompletedPerSecond: requests / seconds,
    goodRequestsPerSecond: (0.97 * requests) / seconds,
    goodShare: 0.97,
    goodShareOf: requests + failed,
    timeToFirstToken: summaryOf(timeToFirstToken),
    interToken: summaryOf(gaps),
    timePerOutputToken: summaryOf(timePerOutputToken),
    endToEnd: summaryOf(endToEnd),
    sendDelay: summaryOf(series(0.0004, 0.4)),
    timeline: {
      binSeconds,
      outputTokensPerSecond: series(outputTokensPerSecond),
      requestsStarted: series(requests / bins),
      requestsEnded: series(requests / bins),
      failures: series(0).map((_, bin) => (bin === 7 ? failed : 0)),
      inFlight: series(streams, 0),
      server: {
        running: series(streams, 0).map((value, bin) => (bin % 2 === 0 ? value : null)),
        waiting: series(0),
        kvUsage: series(Math.min(0.9, streams / 70)),
        residentBytes: series(104e6, 0.001),
      },
    },
    samples: {
      ...{ timeToFirstToken, timePerOutputToken, endToEnd },
      interTokenP99: timePerOutputToken.map((seconds) => 1.5 * seconds),
      outputTokens: timeToFirstToken.map(() => outputTokens),
    },
  };
}

function summaryOf(values: readonly number[]): LatencySummary {
  const percents = [50, 90, 95, 99, 99.9];
  const [p50, p90, p95, p99, p999] = percentiles(values, percents) as [number, number, number, number, number];
  const shares = Array.from({ length: 101 }, (_, i) => i);
  const points = new Map(percentiles(values, shares).map((seconds, i) => [seconds, i / 100] as const));
  return {
    ...{ count: values.length, mean: values.reduce((sum, value) => sum + value, 0) / values.length },
    ...{ min: Math.min(...values), max: Math.max(...values), p50, p90, p95, p99, p999 },
    cumulative: [...points],
  };
}
