import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type GgmlType, namedShape } from "@kvant/checkpoint";
import { KvantError } from "@kvant/core";
import { loadAddon, nativeInfo } from "@kvant/kernels";
import { median } from "../median.ts";
import { installPeer, peerVersion } from "./install-peer.ts";
import { writePeerModel } from "./peer-model.ts";
import { type PeerCommand, startPeer } from "./peer-process.ts";
import type { PeerRunner } from "./peer-runner.ts";

export interface MeasurePeersOptions {
  readonly shapes: readonly string[];
  /** Bits of a weight: 16, 8 or 4. */
  readonly bits: readonly number[];
  /** Tokens before the decode; the prefill that is measured has as many. */
  readonly contexts: readonly number[];
  readonly decodeTokens: number;
  /** 16 or 8 bits of a cached value, on both sides. */
  readonly kvBits: number;
  readonly threads?: number;
  /** Pairs of A and B. */
  readonly rounds: number;
  /** Also 8 streams that start together, 64 tokens in and 64 out. */
  readonly streams: boolean;
  /** Leaves packages and GGUF files in their folder. */
  readonly keep: boolean;
  /** Starts a process that calls `servePeer`. */
  readonly command: PeerCommand;
  readonly onProgress?: (phase: string) => void;
}

/** One case on both sides; rates in tokens per second, medians over the rounds. */
export interface PeerMeasurement {
  readonly shape: string;
  readonly bits: number;
  readonly kvBits: number;
  readonly measure: "decode" | "prefill" | "8 streams" | "8 streams, first token";
  readonly context: number;
  readonly threads: number;
  readonly peer: string;
  readonly peerWeights: string;
  readonly kvantWeights: string;
  /** Tokens per second; seconds for `first token` (median over the streams). */
  readonly kvant: number;
  readonly peerValue: number;
  /** How many times better Kvant is; below 1: worse. */
  readonly ratio: number;
  readonly probeReadGigabytesPerSecond: number;
}

/** The formats of equal bits on the two sides. */
const schemes: Readonly<Record<number, { readonly ggml: GgmlType; readonly weights: string }>> = {
  16: { ggml: "F16", weights: "fp16" },
  8: { ggml: "Q8_0", weights: "int8-channel" },
  4: { ggml: "Q4_0", weights: "int4-g32" },
};
const probeBytes = 2 ** 30;
const streamCount = 8;
const streamTokens = 64;

/**
 * Kvant (A) beside node-llama-cpp (B) on the same shape, bits and threads, A B A B: both are loaded, each in its own process,
 * and take turns; who waits uses no processor. Yields rows per shape and bits as they are ready.
 * @throws KvantError INVALID_ARGUMENT for other bits, BACKEND_UNAVAILABLE when npm cannot install the peer
 */
export async function* measurePeers(options: MeasurePeersOptions): AsyncGenerator<PeerMeasurement> {
  const { shapes, bits, keep, onProgress = () => undefined } = options;
  for (const each of bits) {
    if (schemes[each] === undefined)
      throw new KvantError("INVALID_ARGUMENT", `weights have 16, 8 or 4 bits, not ${each}`);
  }
  if (options.kvBits !== 16 && options.kvBits !== 8) {
    throw new KvantError("INVALID_ARGUMENT", `KV values have 16 or 8 bits, not ${options.kvBits}`);
  }
  const configs = shapes.map((shape) => ({ shape, config: namedShape(shape) }));
  const folder = mkdtempSync(join(tmpdir(), "kvant-peers-"));
  try {
    onProgress(`installing node-llama-cpp ${peerVersion} into ${folder}`);
    await installPeer(folder);
    for (const { shape, config } of configs) {
      for (const each of bits) {
        const { ggml } = schemes[each]!;
        const path = join(folder, `${shape}-${ggml}.gguf`);
        onProgress(`${shape}: writing ${path}`);
        writePeerModel(path, shape, config, ggml);
        yield* measurePair(shape, each, path, config.vocabSize, folder, options);
        if (!keep) rmSync(path);
      }
    }
  } finally {
    if (!keep) rmSync(folder, { recursive: true, force: true });
  }
}

async function* measurePair(
  shape: string,
  bits: number,
  path: string,
  vocabSize: number,
  peerFolder: string,
  options: MeasurePeersOptions,
): AsyncGenerator<PeerMeasurement> {
  const { contexts, decodeTokens, kvBits, rounds, streams, command, onProgress = () => undefined } = options;
  const { ggml, weights } = schemes[bits]!;
  const threads = options.threads ?? nativeInfo().cores;
  const shared = {
    weights,
    kvFormat: kvBits === 8 ? "int8" : "fp16",
    threads,
    // llama.cpp shares a context's cells among its sequences no further than this.
    contextLength: Math.max(2 * streamTokens, ...contexts.map((context) => context + decodeTokens)),
    sequences: streams ? streamCount : 1,
  };
  const opened: PeerRunner[] = [];
  try {
    onProgress(`${shape} ${bits} bits: loading Kvant, ${weights}`);
    opened.push(await startPeer(command, { ...shared, model: shape, peerFolder: undefined }));
    onProgress(`${shape} ${bits} bits: loading node-llama-cpp, ${ggml}`);
    opened.push(await startPeer(command, { ...shared, model: path, peerFolder }));
    const probes: number[] = [];
    const turns = async (name: string, prompts: (round: number) => number[][], tokens: number) => {
      const rates = opened.map(() => ({
        prefill: [] as number[],
        decode: [] as number[],
        first: [] as number[],
        all: [] as number[],
      }));
      // The first round warms both sides and does not count.
      for (let round = 0; round <= rounds; round++) {
        onProgress(`${shape} ${bits} bits, ${name}: round ${round} of ${rounds}`);
        if (round > 0) probes.push(median(loadAddon().probeRead(probeBytes, threads, 3)));
        for (const [side, runner] of opened.entries()) {
          const lists = prompts(round);
          const { firstTokens, lastTokens } = await runner.run(lists, tokens);
          if (round === 0) continue;
          const [first, last] = [Math.max(...firstTokens), Math.max(...lastTokens)];
          rates[side]!.prefill.push((lists.length * lists[0]!.length) / first);
          rates[side]!.decode.push((lists.length * (tokens - 1)) / (last - first));
          rates[side]!.all.push((lists.length * tokens) / last);
          rates[side]!.first.push(median(firstTokens));
        }
      }
      return rates;
    };
    const row = (
      measure: PeerMeasurement["measure"],
      context: number,
      ours: readonly number[],
      theirs: readonly number[],
    ): PeerMeasurement => {
      const [kvant, peerValue] = [median(ours), median(theirs)];
      return {
        shape,
        bits,
        kvBits,
        measure,
        context,
        threads,
        peer: `node-llama-cpp ${peerVersion}`,
        peerWeights: ggml,
        kvantWeights: weights,
        kvant,
        peerValue,
        ratio: measure === "8 streams, first token" ? peerValue / kvant : kvant / peerValue,
        probeReadGigabytesPerSecond: median(probes) / 1e9,
      };
    };
    for (const context of contexts) {
      const prompts = (round: number) => [promptIds(vocabSize, context, round)];
      const [ours, theirs] = await turns(`context ${context}`, prompts, decodeTokens);
      yield row("decode", context, ours!.decode, theirs!.decode);
      yield row("prefill", context, ours!.prefill, theirs!.prefill);
    }
    if (!streams) return;
    const prompts = (round: number) =>
      Array.from({ length: streamCount }, (_, i) => promptIds(vocabSize, streamTokens, round * streamCount + i));
    const [ours, theirs] = await turns(`${streamCount} streams`, prompts, streamTokens);
    yield row("8 streams", streamTokens, ours!.all, theirs!.all);
    yield row("8 streams, first token", streamTokens, ours!.first, theirs!.first);
  } finally {
    for (const runner of opened) await runner.close();
  }
}

/** Ids beyond the special ones and the bytes; no two prompts begin alike, so that no prefix is found again. */
function promptIds(vocabSize: number, count: number, salt: number): number[] {
  const low = 300;
  return Array.from({ length: count }, (_, i) => low + (((i + 1) * 7919 + salt * 104_729) % (vocabSize - low)));
}
