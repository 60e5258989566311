import { createEngine, type GenerateRequest } from "@kvant/engine";
import type { PeerOptions, PeerRunner } from "./peer-runner.ts";

/** Kvant's engine, scheduler and sampling included. */
export async function openKvant(options: PeerOptions): Promise<PeerRunner> {
  const engine = await createEngine({
    model: options.model,
    load: "dummy",
    weights: options.weights,
    kvFormat: options.kvFormat,
    threads: options.threads,
    contextLength: options.contextLength,
    maxSequences: options.sequences,
    prefixReuse: false,
  });
  return {
    async run(prompts, decodeTokens) {
      const started = performance.now();
      const times = await Promise.all(
        prompts.map(async (tokenIds) => {
          const request: GenerateRequest = {
            prompt: { kind: "tokens", tokenIds },
            maxTokens: decodeTokens,
            temperature: 0,
            ignoreEos: true,
          };
          let [first, last] = [0, 0];
          for await (const event of engine.generate(request)) {
            if (event.type !== "delta") continue;
            last = (performance.now() - started) / 1000;
            first ||= last;
          }
          return { first, last };
        }),
      );
      return { firstTokens: times.map(({ first }) => first), lastTokens: times.map(({ last }) => last) };
    },
    close: () => engine.close(),
  };
}
