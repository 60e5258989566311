import type { EngineOptions } from "../engine-options.ts";
import { createEngine } from "../local-engine.ts";
import { generateIds, greedyRequest, runTogether, tokens } from "./golden.ts";

const sequenceCount = 64;
const outputTokens = 20;

/** What is wrong with "a batch of 64 equals each alone": sentences, none when it holds. Greedy, prompts of 1 to 64 tokens. */
export async function batchFailures(options: EngineOptions): Promise<readonly string[]> {
  const engine = await createEngine({ maxSequences: sequenceCount, prefixReuse: false, ...options });
  try {
    const requests = Array.from({ length: sequenceCount }, (_, index) =>
      greedyRequest(tokens(index + 1, index), outputTokens),
    );
    const { results: together, fullest } = await runTogether(engine, requests, generateIds);
    const failures = fullest === sequenceCount ? [] : [`at most ${fullest} of ${sequenceCount} sequences ran together`];
    for (const [index, request] of requests.entries()) {
      const alone = await generateIds(engine, request);
      if (alone.join() === together[index]!.join()) continue;
      failures.push(`sequence ${index} gives ${together[index]!.join()} in the batch, ${alone.join()} alone`);
    }
    return failures;
  } finally {
    await engine.close();
  }
}
