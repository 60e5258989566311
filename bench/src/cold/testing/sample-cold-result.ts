import { coldMedians } from "../cold-medians.ts";
import type { ColdResult, ColdRun, StartKind } from "../cold-result.ts";

const gigabyte = 1e9;

/** A start whose disk takes `disk` seconds to give the model. */
function sampleRun(start: StartKind, disk: number, pace: number): ColdRun {
  const loaded = 0.3 * pace + disk + 0.9;
  return {
    start,
    residentBytes: start === "cold" ? 0 : 8 * gigabyte,
    at: {
      loading: 0.3 * pace,
      loaded,
      listening: loaded + 0.02,
      ready: loaded + 0.03,
      firstToken: loaded + 0.12 * pace,
      firstStep: loaded + 0.15 * pace,
    },
    loadSeconds: disk + 0.8,
    firstTokenSeconds: 0.09 * pace,
    firstStepSeconds: 0.03 * pace,
    laterStepSeconds: 0.012 * pace,
    peakResidentBytes: { server: 1.1e8, engine: 9.2 * gigabyte },
  };
}

/** A result as a model of 8 GB leaves it on a disk of 1 GB/s, with figures in the sizes that one sees. */
export function sampleColdResult({ rounds = 3, warmOnly = false } = {}): ColdResult {
  const runs = Array.from({ length: rounds }, (_, i) => {
    const pace = 1 + 0.06 * i;
    return [...(warmOnly ? [] : [sampleRun("cold", 8 * pace, pace)]), sampleRun("warm", 0.7 * pace, pace)];
  }).flat();
  return {
    kind: "kvant-cold",
    version: 1,
    startedAt: "2026-03-01T12:00:00.000Z",
    machine: { cpu: "AMD EPYC 9B14", cores: 8, memoryBytes: 33_554_432_000, platform: "linux-x64", accelerators: [] },
    software: { kvant: "0.1.0", node: "20.19.4" },
    model: {
      id: "llama3-8b",
      weights: "int8-channel",
      activations: "int8",
      kvFormat: "int8",
      device: "cpu",
      tier: "avx2",
    },
    flags: { model: "./llama3 8b", weights: "int8", "prompt-tokens": 32, runs: rounds, "limit-seconds": 600 },
    serveArgs: ["./llama3 8b", "--weights", "int8"],
    promptTokens: 32,
    files: { count: 7, bytes: 8 * gigabyte },
    eviction: warmOnly ? "none" : "fadvise",
    warnings: warmOnly ? ["no cold start: fincore (util-linux) is absent"] : [],
    runs,
    medians: coldMedians(runs),
  };
}
