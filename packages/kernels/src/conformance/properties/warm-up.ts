import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { differences, type GenerateOptions, generate, samplings } from "./steps-in-flight.ts";

// A backend may have prepared what fills a step, as CUDA has.
const cases: readonly (readonly [when: string, options: Omit<GenerateOptions, "pipelined">])[] = [
  ["after it", {}],
  ["with long steps and few rows", { limits: { maxRows: 3, maxTokens: 512, maxLogitRows: 512 } }],
  ["with short steps and many rows", { limits: { maxRows: 256, maxTokens: 32, maxLogitRows: 256 } }],
  ["with a step that short and long prompts fill", { limits: { maxTokens: 23 } }],
  ["with a step that long prompts fill", { prompts: [8, 20], limits: { maxTokens: 28 } }],
  ["with a step that is filled and samples nothing", { prompts: [9, 20], ahead: 8, limits: { maxTokens: 16 } }],
];

/** Warming up computes with no sequence, so it leaves nothing behind. */
export const warmUpChecks: readonly ConformanceCheck[] = samplings.flatMap(([name, sampling]) =>
  cases.map(([when, options]) => ({
    group: "warming up",
    name: `a ${name} sequence is the same ${when}`,
    run: async (create: BackendFactory) => {
      const cold = await generate(create, sampling, { pipelined: true, ...options });
      const warm = await generate(create, sampling, { pipelined: true, ...options, warmUp: true });
      return differences("cold", cold, "warm", warm);
    },
  })),
);
