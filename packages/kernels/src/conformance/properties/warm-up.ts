import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { differences, generate, samplings } from "./steps-in-flight.ts";

/** Warming up computes with no sequence, so it leaves nothing behind. */
export const warmUpChecks: readonly ConformanceCheck[] = samplings.flatMap(([name, sampling]) => [
  {
    group: "warming up",
    name: `a ${name} sequence is the same after it`,
    run: async (create: BackendFactory) => {
      const cold = await generate(create, sampling, { pipelined: true });
      const warm = await generate(create, sampling, { pipelined: true, warmUp: true });
      return differences("cold", cold, "warm", warm);
    },
  },
  {
    group: "warming up",
    name: `a ${name} sequence is the same with long steps and few rows`,
    run: async (create: BackendFactory) => {
      const limits = { maxRows: 3, maxTokens: 512, maxLogitRows: 512 };
      const cold = await generate(create, sampling, { pipelined: true, limits });
      const warm = await generate(create, sampling, { pipelined: true, warmUp: true, limits });
      return differences("cold", cold, "warm", warm);
    },
  },
]);
