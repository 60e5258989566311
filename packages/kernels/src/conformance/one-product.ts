import { parseWeightFormat } from "@kvant/formats";
import type { Backend, Executable } from "../backend.ts";
import type { ActivationScheme, PlanWeight } from "../plan.ts";
import { caseOptions, casePlan } from "./cases/case-plan.ts";
import { StepDriver } from "./step-driver.ts";

/** One linear op: its scheme, and x `[tokens, cols]`. */
export interface OneProduct {
  readonly weights: string;
  readonly activation: ActivationScheme;
  readonly rows: number;
  readonly cols: number;
  readonly x: Float32Array;
}

/** x times a weight `[rows, cols]` that `load` brings: `[tokens, rows]`. */
export async function oneProduct(
  { weights, activation, rows, cols, x }: OneProduct,
  backend: Backend,
  load: (executable: Executable, weight: PlanWeight) => void,
): Promise<Float32Array> {
  const { builder } = casePlan(1);
  const input = builder.input("x", cols);
  const format = parseWeightFormat(weights);
  const weight = builder.weight({ name: "w", class: "linear", rows, cols, format, activation });
  const out = builder.linear("out", input, weight);
  builder.output(out);
  const plan = builder.build();
  const options = caseOptions(0);
  const executable = backend.compile(plan, options);
  load(executable, plan.weights[weight]!);
  executable.writeBuffer(input, x);
  const tokens = x.length / cols;
  const tokenIds = Array.from({ length: tokens }, () => 0);
  await new StepDriver(executable, options).step([{ slot: 0, tokenIds, wants: "nothing" }]);
  const result = executable.readBuffer(out, tokens);
  await executable.close();
  return result;
}
