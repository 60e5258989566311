import { fileURLToPath } from "node:url";
import type { Engine, GenerateRequest } from "../engine.ts";

/** Folder of a golden model that @kvant/models keeps for tests: tiny, random weights, no tokenizer. */
export function goldenModel(name: string): string {
  return fileURLToPath(new URL(`../../../models/test/golden-models/${name}`, import.meta.url));
}

/** Deterministic ids in `[3, 320)`: the golden models' vocabulary without its special ids. */
export function tokens(count: number, salt: number): number[] {
  return Array.from({ length: count }, (_, i) => 3 + ((i * 7919 + salt * 104_729 + ((i * i) % 13)) % 317));
}

export function greedyRequest(tokenIds: readonly number[], maxTokens: number): GenerateRequest {
  return { prompt: { kind: "tokens", tokenIds }, maxTokens, temperature: 0, ignoreEos: true };
}

/** `[n]` the token ids of each completion. */
export async function generateIds(engine: Engine, request: GenerateRequest, signal?: AbortSignal): Promise<number[][]> {
  const ids: number[][] = Array.from({ length: request.n ?? 1 }, () => []);
  for await (const event of engine.generate(request, signal)) {
    if (event.type === "delta") ids[event.index]!.push(...event.tokenIds);
  }
  return ids;
}

/** What each of the requests gives when all are handed in at once, and the most sequences that ran in one step. */
export async function runTogether<Result>(
  engine: Engine,
  requests: readonly GenerateRequest[],
  run: (engine: Engine, request: GenerateRequest) => Promise<Result>,
): Promise<{ results: Result[]; fullest: number }> {
  let fullest = 0;
  const stop = engine.observe({ step: () => (fullest = Math.max(fullest, engine.stats().running)) });
  const results = await Promise.all(requests.map((request) => run(engine, request)));
  stop();
  return { results, fullest };
}
