import { parseWeightFormat } from "@kvant/formats";
import type { WeightId } from "../../plan.ts";
import type { ConformanceCase } from "../conformance-case.ts";
import { rmsNormBudget } from "../error-budgets.ts";
import { type CasePlan, casePlan, oneStep } from "./case-plan.ts";

const shapes = [
  [8, 8],
  [64, 64],
  [64, 16],
  [172, 172],
  [30, 10],
  [384, 384],
] as const;

/** Whole rows and runs of heads, alone and with the residual sum that a backend may fuse. */
export const rmsNormCases: readonly ConformanceCase[] = [
  ...shapes.map(([width, run]) => plainCase(width, run)),
  ...shapes.flatMap(([width, run]) => [true, false].map((sumIsRead) => residualCase(width, run, sumIsRead))),
];

function plainCase(width: number, run: number): ConformanceCase {
  return {
    name: `rmsNorm [9, ${width}] over runs of ${run}`,
    budget: rmsNormBudget,
    exactPages: false,
    setup() {
      const plan = casePlan(width + run);
      const x = plan.builder.input("x", width);
      plan.builder.output(plan.builder.rmsNorm("out", x, normWeight(plan, run), 1e-5));
      const values = plan.random.normals(9 * width, 3);
      values.fill(0, 0, width); // a row of zeros must stay finite
      return oneStep(plan, 9, new Map([[x, values]]));
    },
  };
}

function residualCase(width: number, run: number, sumIsRead: boolean): ConformanceCase {
  return {
    name: `rmsNorm of a sum [9, ${width}] over runs of ${run}, the sum ${sumIsRead ? "read later" : "not read again"}`,
    budget: rmsNormBudget,
    exactPages: false,
    setup() {
      const plan = casePlan(width * 3 + run);
      const { builder, random } = plan;
      const [x, y, z] = [builder.input("x", width), builder.input("y", width), builder.input("z", width)];
      const sum = builder.add("sum", builder.add("inner", x, y), z);
      const out = builder.rmsNorm("out", sum, normWeight(plan, run), 1e-6);
      builder.output(out);
      if (sumIsRead) builder.output(builder.add("after", sum, out));
      return oneStep(plan, 9, new Map([x, y, z].map((id) => [id, random.normals(9 * width)] as const)));
    },
  };
}

function normWeight(plan: CasePlan, cols: number): WeightId {
  return plan.weight(
    { name: "norm", class: "norm", rows: 1, cols, format: parseWeightFormat("fp32"), activation: undefined },
    plan.random.normals(cols),
  );
}
