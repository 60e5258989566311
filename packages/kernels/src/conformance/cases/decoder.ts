import { absentKernels } from "../absent-kernels.ts";
import type { ConformanceCase } from "../conformance-case.ts";
import { decoderBudgets } from "../error-budgets.ts";
import { Random } from "../random.ts";
import { type TinyDecoder, tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";

/** Whole decoders with mixed rows: logits, scores and taps. */
export const decoderCases: readonly ConformanceCase[] = tinyDecoders.map(decoderCase);

function decoderCase(kind: TinyDecoder): ConformanceCase {
  const isFloat = kind.activation.format === "fp32" && kind.kv === "fp32";
  return {
    name: `decoder ${kind.name}`,
    budget: isFloat ? decoderBudgets.float : decoderBudgets.rounding,
    tensorCoreBudget: kind.activation.format === "e4m3" ? decoderBudgets.fp8TensorCores : undefined,
    exactPages: false,
    absentOn: absentKernels(kind.activation),
    setup() {
      const random = new Random(11);
      const { plan, options, weights, taps } = tinyDecoder(kind, 11);
      const ids = (count: number) => random.tokenIds(count, plan.vocabSize);
      return {
        plan: { ...plan, outputs: taps },
        options,
        weights,
        steps: [
          {
            inputs: new Map(),
            rows: [
              { slot: 2, tokenIds: ids(21), wants: "logits" },
              { slot: 0, tokenIds: ids(9), wants: "score", targets: ids(9) },
              { slot: 5, tokenIds: ids(4), wants: "nothing" },
            ],
          },
          {
            inputs: new Map(),
            rows: [
              { slot: 5, tokenIds: ids(33), wants: "logits" },
              { slot: 2, tokenIds: ids(1), wants: "logits" },
              { slot: 1, tokenIds: ids(1), wants: "score", targets: ids(1) },
            ],
          },
        ],
      };
    },
  };
}
