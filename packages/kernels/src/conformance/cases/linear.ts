import { parseWeightFormat } from "@kvant/formats";
import type { ActivationScheme } from "../../plan.ts";
import { absentKernels } from "../absent-kernels.ts";
import type { ConformanceCase } from "../conformance-case.ts";
import { linearBudgets, tensorCoreBudgets } from "../error-budgets.ts";
import { casePlan, oneStep } from "./case-plan.ts";

/** Weight formats with kernels, each with the activations it meets. */
export const linearSchemes: readonly (readonly [
  weights: string,
  activations: readonly ActivationScheme["format"][],
])[] = [
  ...["fp32", "bf16", "fp16"].map((name) => [name, ["fp32", "bf16", "fp16"]] as const),
  ...["int8", "int4"].flatMap((format) =>
    ["tensor", "channel", "g32", "g64", "g128"].map(
      (suffix) => [`${format}-${suffix}`, ["fp32", "bf16", "int8"]] as const,
    ),
  ),
  ...["int8-channel-affine", "int8-g64-affine", "int4-channel-affine", "int4-g32-affine", "int4-g128-affine"].map(
    (name) => [name, ["fp32", "bf16", "int8"]] as const,
  ),
  ...["mxfp4", "nvfp4"].map((name) => [name, ["fp32", "bf16"]] as const),
  ...["e4m3", "fp4"].flatMap((format) =>
    ["tensor", "channel", "g32", "g128"].map((suffix) => [`${format}-${suffix}`, ["fp32", "bf16", "e4m3"]] as const),
  ),
  ...["e5m2-channel", "e5m2-g32"].map((name) => [name, ["bf16", "e4m3"]] as const),
];

/** [tokens, in, out]: single tokens, ragged tiles, groups that do not divide the row, widths below a vector, a prefill. */
const shapes = [
  [1, 64, 48],
  [1, 172, 105],
  [3, 80, 17],
  [9, 130, 33],
  [17, 256, 16],
  [2, 8, 5],
  [5, 7, 3],
  [140, 256, 48],
] as const;

/** Activations of a format, those of 8 bits with a scale per token. */
export function tokenScheme(format: ActivationScheme["format"]): ActivationScheme {
  return format === "int8" || format === "e4m3" ? { format, scale: "token" } : { format };
}

/** Every scheme by every shape; dynamic 8-bit activations, and static ones that clip. */
export const linearCases: readonly ConformanceCase[] = linearSchemes.flatMap(([weights, activations]) =>
  activations.flatMap((format) =>
    shapes.flatMap((shape, index) => {
      const hasBias = index % 2 === 1;
      if (format !== "int8" && format !== "e4m3") return [linearCase(weights, { format }, shape, hasBias)];
      return [
        linearCase(weights, { format, scale: "token" }, shape, hasBias),
        linearCase(weights, { format, scale: 0.015 }, shape, hasBias),
      ];
    }),
  ),
);

function linearCase(
  weights: string,
  activation: ActivationScheme,
  [tokens, cols, rows]: readonly [number, number, number],
  hasBias: boolean,
): ConformanceCase {
  const scale = "scale" in activation ? ` (${activation.scale === "token" ? "per token" : "static"})` : "";
  return {
    name: `linear ${weights} x ${activation.format}${scale} [${tokens}, ${cols}] -> ${rows}${hasBias ? " with bias" : ""}`,
    budget: linearBudgets[activation.format],
    tensorCoreBudget: tensorCoreBudgets.linear[activation.format],
    exactPages: false,
    absentOn: absentKernels(activation),
    setup() {
      const plan = casePlan(tokens * 1000 + cols + rows);
      const { builder, random } = plan;
      const x = builder.input("x", cols);
      const weight = plan.weight(
        { name: "w", class: "linear", rows, cols, format: parseWeightFormat(weights), activation },
        random.normals(rows * cols, 0.1),
      );
      const bias = hasBias
        ? plan.weight(
            { name: "b", class: "bias", rows: 1, cols: rows, format: parseWeightFormat("fp32"), activation: undefined },
            random.normals(rows),
          )
        : undefined;
      builder.output(builder.linear("out", x, weight, bias));
      const values = random.normals(tokens * cols);
      if (tokens > 1) values.fill(0, 0, cols); // a token of zeros has scale 0
      values[values.length - 1] = 7; // an outlier
      return oneStep(plan, tokens, new Map([[x, values]]));
    },
  };
}
