import { formats } from "@kvant/formats";
import { absentKernels } from "../absent-kernels.ts";
import type { CaseStep, ConformanceCase } from "../conformance-case.ts";
import { decoderBudgets, type ErrorBudget } from "../error-budgets.ts";
import { Random } from "../random.ts";
import type { DriverRow } from "../step-driver.ts";
import { type TinyDecoder, tinyDecoder, tinyDecoders } from "../tiny-decoder.ts";

/**
 * Steps of more than 256 tokens: on CUDA, gate and up are bf16 then where the scheme rounds as coarsely, and products add to the
 * residual stream. An inner size of 80 makes all widths multiples of 16, which cuBLASLt needs; with that of 70 other kernels serve
 * some. KV has 16 bits or more: of so many 8-bit keys and values, one moves to a neighbouring code with any order of summation,
 * which alone can exceed the budget (3.1e-2 between the reference and a CPU tier).
 */
const manyTokenDecoders: readonly TinyDecoder[] = [
  ...tinyDecoders.filter(({ kv }) => formats[kv].bits > 8),
  ...[
    { weights: "bf16", activation: { format: "bf16" } } as const,
    { weights: "int8-channel", activation: { format: "int8", scale: "token" } } as const,
    { weights: "int8-channel", activation: { format: "int8", scale: "token" }, bias: true } as const,
    { weights: "int4-g32", activation: { format: "int8", scale: "token" } } as const,
    { weights: "e4m3-channel", activation: { format: "e4m3", scale: "token" } } as const,
  ].map((scheme) => ({ ...scheme, kv: "bf16" as const, inner: 80, name: nameOf(scheme) })),
];

function nameOf({ weights, activation, bias }: Pick<TinyDecoder, "weights" | "activation" | "bias">): string {
  return `${weights} x ${activation.format}${bias === true ? " with biases" : ""}, inner size 80`;
}

/** Whole decoders with mixed rows: logits, scores and taps. */
export const decoderCases: readonly ConformanceCase[] = [
  ...tinyDecoders.map((kind) => decoderCase(kind, `decoder ${kind.name}`, mixedRows, budgetOf(kind))),
  ...manyTokenDecoders.map((kind) =>
    decoderCase(
      kind,
      `decoder ${kind.name}, many tokens`,
      manyTokens,
      kind.activation.format === "e4m3" ? decoderBudgets.manyFp8Activations : budgetOf(kind),
    ),
  ),
];

function budgetOf({ activation, kv }: TinyDecoder): ErrorBudget {
  return activation.format === "fp32" && kv === "fp32" ? decoderBudgets.float : decoderBudgets.rounding;
}

type Ids = (count: number) => readonly number[];

function mixedRows(ids: Ids): readonly (readonly DriverRow[])[] {
  return [
    [
      { slot: 2, tokenIds: ids(21), wants: "logits" },
      { slot: 0, tokenIds: ids(9), wants: "score", targets: ids(9) },
      { slot: 5, tokenIds: ids(4), wants: "nothing" },
    ],
    [
      { slot: 5, tokenIds: ids(33), wants: "logits" },
      { slot: 2, tokenIds: ids(1), wants: "logits" },
      { slot: 1, tokenIds: ids(1), wants: "score", targets: ids(1) },
    ],
  ];
}

/** Chunks alone, then chunks and a row of one token; neither number of tokens is a multiple of 16. */
function manyTokens(ids: Ids): readonly (readonly DriverRow[])[] {
  return [
    [
      { slot: 2, tokenIds: ids(151), wants: "logits" },
      { slot: 0, tokenIds: ids(162), wants: "score", targets: ids(162) },
    ],
    [
      { slot: 5, tokenIds: ids(180), wants: "logits" },
      { slot: 0, tokenIds: ids(1), wants: "logits" },
      { slot: 1, tokenIds: ids(79), wants: "nothing" },
      { slot: 2, tokenIds: ids(30), wants: "logits" },
    ],
  ];
}

function decoderCase(
  kind: TinyDecoder,
  name: string,
  rowsOf: (ids: Ids) => readonly (readonly DriverRow[])[],
  budget: ErrorBudget,
): ConformanceCase {
  return {
    name,
    budget,
    tensorCoreBudget: kind.activation.format === "e4m3" ? decoderBudgets.fp8TensorCores : undefined,
    exactPages: false,
    absentOn: absentKernels(kind.activation),
    setup() {
      const random = new Random(11);
      const { plan, options, weights, taps } = tinyDecoder(kind, 11);
      const steps: readonly CaseStep[] = rowsOf((count) => random.tokenIds(count, plan.vocabSize)).map((rows) => ({
        inputs: new Map(),
        rows,
      }));
      return {
        plan: { ...plan, outputs: taps },
        options: { ...options, maxTokens: 384, maxLogitRows: 384 },
        weights,
        steps,
      };
    },
  };
}
