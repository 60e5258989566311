import { parseWeightFormat, type QuantizedTensor, type WeightFormat } from "@kvant/formats";
import type { ActivationScheme } from "../../plan.ts";
import { absentKernels } from "../absent-kernels.ts";
import type { ConformanceCase } from "../conformance-case.ts";
import { linearBudgets, tensorCoreBudgets } from "../error-budgets.ts";
import type { Random } from "../random.ts";
import { lowestCodes, randomCodes } from "../random-codes.ts";
import { casePlan, oneStep } from "./case-plan.ts";
import { linearSchemes, tokenScheme } from "./linear.ts";

/** How codes come about. */
type MakeCodes = (format: WeightFormat, rows: number, cols: number, random: Random) => QuantizedTensor;

/** [tokens, in, out]: one token, ragged groups and rows over whole and broken tiles of tokens, a prefill. */
const shapes = [
  [1, 80, 33],
  [19, 171, 37],
  [140, 256, 48],
] as const;

/** Schemes whose codes native backends do not make of floats. */
const schemesOfCodes: typeof linearSchemes = [
  "int3-channel",
  "int3-g32",
  "int3-g128-affine",
  "int2-channel-affine",
  "int2-g64",
].map((name) => [name, ["fp32", "bf16", "int8"]] as const);

/** Every scheme with scales over codes and scales that AbsMax does not choose, and the largest sums of products of integers. */
export const linearCodesCases: readonly ConformanceCase[] = [...linearSchemes, ...schemesOfCodes]
  .filter(([weights]) => parseWeightFormat(weights).granularity !== undefined)
  .flatMap(([weights, activations]) =>
    activations.flatMap((format) => {
      const activation = tokenScheme(format);
      const cases = shapes.map((shape) => codesCase("codes", randomCodes, weights, activation, shape));
      if (!weights.startsWith("int")) return cases;
      const normal = (count: number, random: Random) => random.normals(count);
      const ones = (count: number) => new Float32Array(count).fill(1);
      return [
        ...cases,
        codesCase("lowest codes", lowestCodes, weights, activation, [19, 256, 37], normal),
        codesCase("lowest codes and ones", lowestCodes, weights, activation, [19, 256, 37], ones),
      ];
    }),
  );

function codesCase(
  what: string,
  makeCodes: MakeCodes,
  weights: string,
  activation: ActivationScheme,
  [tokens, cols, rows]: readonly [number, number, number],
  makeValues = (count: number, random: Random) => random.normals(count),
): ConformanceCase {
  return {
    name: `linear ${weights} ${what} x ${activation.format} [${tokens}, ${cols}] -> ${rows}`,
    budget: linearBudgets[activation.format],
    tensorCoreBudget: tensorCoreBudgets.linear[activation.format],
    exactPages: false,
    absentOn: absentKernels(activation),
    setup() {
      const plan = casePlan(tokens * 1000 + cols + rows);
      const { builder, random } = plan;
      const format = parseWeightFormat(weights);
      const x = builder.input("x", cols);
      const weight = builder.weight({ name: "w", class: "linear", rows, cols, format, activation });
      builder.output(builder.linear("out", x, weight));
      const codes = new Map([[weight, makeCodes(format, rows, cols, random)]]);
      return { ...oneStep(plan, tokens, new Map([[x, makeValues(tokens * cols, random)]])), codes };
    },
  };
}
