import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { PeerOptions, PeerRunner } from "./peer-runner.ts";

// The part of node-llama-cpp that is used. The package is installed for one run, so its own types are not here.
interface LlamaModule {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
}
interface LlamaModel {
  createContext(options: object): Promise<LlamaContext>;
  dispose(): Promise<void>;
}
interface LlamaContext {
  getSequence(): LlamaSequence;
}
interface LlamaSequence {
  evaluate(tokens: readonly number[], options: object): AsyncIterable<number>;
  clearHistory(): Promise<void>;
}

/** node-llama-cpp's prebuilt CPU binary: flash attention where it has it, an F16 or Q8_0 KV cache, greedy sampling. */
export async function openLlama(options: PeerOptions, folder: string): Promise<PeerRunner> {
  const entry = pathToFileURL(join(folder, "node_modules", "node-llama-cpp", "dist", "index.js")).href;
  const { getLlama } = (await import(entry)) as LlamaModule;
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: "error",
    maxThreads: options.threads,
  });
  const model = await llama.loadModel({ modelPath: options.model, gpuLayers: 0 });
  const kvType = options.kvFormat === "int8" ? "Q8_0" : "F16";
  const context = await model.createContext({
    sequences: options.sequences,
    contextSize: options.contextLength,
    batchSize: 512,
    threads: { ideal: options.threads, min: options.threads },
    flashAttention: true,
    experimentalKvCacheKeyType: kvType,
    experimentalKvCacheValueType: kvType,
  });
  const sequences = Array.from({ length: options.sequences }, () => context.getSequence());
  return {
    async run(prompts, decodeTokens) {
      for (const sequence of sequences) await sequence.clearHistory();
      const started = performance.now();
      const times = await Promise.all(
        prompts.map(async (prompt, i) => {
          let [first, last, count] = [0, 0, 0];
          for await (const _ of sequences[i]!.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
            last = (performance.now() - started) / 1000;
            first ||= last;
            if (++count === decodeTokens) break;
          }
          return { first, last };
        }),
      );
      return { firstTokens: times.map(({ first }) => first), lastTokens: times.map(({ last }) => last) };
    },
    close: () => model.dispose(),
  };
}
