import type { CompileOptions } from "../../backend.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { differences, generate, samplings } from "./steps-in-flight.ts";

const sizes: readonly (readonly [when: string, limits: Partial<CompileOptions>])[] = [
  ["after it", {}],
  ["with long steps and few rows", { maxRows: 3, maxTokens: 512, maxLogitRows: 512 }],
];

/** Warming up computes with no sequence, so it leaves nothing behind. */
export const warmUpChecks: readonly ConformanceCheck[] = samplings.flatMap(([name, sampling]) =>
  sizes.map(([when, limits]) => ({
    group: "warming up",
    name: `a ${name} sequence is the same ${when}`,
    run: async (create: BackendFactory) => {
      const cold = await generate(create, sampling, { pipelined: true, limits });
      const warm = await generate(create, sampling, { pipelined: true, warmUp: true, limits });
      return differences("cold", cold, "warm", warm);
    },
  })),
);
