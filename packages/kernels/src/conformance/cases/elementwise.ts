import { parseWeightFormat } from "@kvant/formats";
import type { GatedOpName } from "../../plan.ts";
import type { ConformanceCase } from "../conformance-case.ts";
import { exact, geluMulBudget, ropeBudget, siluMulBudget } from "../error-budgets.ts";
import { casePlan, oneStep } from "./case-plan.ts";

const widths = [2, 8, 33, 64, 172];

/** embed, add, siluMul, geluMul, rope and gatherRows. */
export const elementwiseCases: readonly ConformanceCase[] = [
  ...widths.flatMap((width) => (["fp32", "bf16", "fp16"] as const).map((format) => embedCase(width, format))),
  ...widths.map(addCase),
  ...widths.flatMap((width) =>
    [1, 20].flatMap((deviation) => [gatedCase("siluMul", width, deviation), gatedCase("geluMul", width, deviation)]),
  ),
  ...[2, 8, 10, 16, 32, 64, 80].flatMap((headDim) => [1, 3].map((heads) => ropeCase(headDim, heads))),
  ...widths.map(gatherCase),
];

function embedCase(width: number, format: "fp32" | "bf16" | "fp16"): ConformanceCase {
  return {
    name: `embed ${format} [105, ${width}]`,
    budget: exact,
    exactPages: false,
    setup() {
      const plan = casePlan(width, { vocabSize: 105 });
      const table = plan.weight(
        {
          name: "table",
          class: "embedding",
          rows: 105,
          cols: width,
          format: parseWeightFormat(format),
          activation: undefined,
        },
        plan.random.normals(105 * width),
      );
      plan.builder.output(plan.builder.embed("out", table));
      return oneStep(plan, 19, new Map());
    },
  };
}

function addCase(width: number): ConformanceCase {
  return {
    name: `add [7, ${width}]`,
    budget: exact,
    exactPages: false,
    setup() {
      const plan = casePlan(width);
      const [x, y] = [plan.builder.input("x", width), plan.builder.input("y", width)];
      plan.builder.output(plan.builder.add("out", x, y));
      return oneStep(
        plan,
        7,
        new Map([[x, plan.random.normals(7 * width)] as const, [y, plan.random.normals(7 * width)] as const]),
      );
    },
  };
}

function gatedCase(op: GatedOpName, width: number, deviation: number): ConformanceCase {
  return {
    name: `${op} [5, ${width}], gates of about ${deviation}`,
    budget: op === "siluMul" ? siluMulBudget : geluMulBudget,
    exactPages: false,
    setup() {
      const plan = casePlan(width + deviation);
      const [gate, up] = [plan.builder.input("gate", width), plan.builder.input("up", width)];
      plan.builder.output(plan.builder[op]("out", gate, up));
      const gates = plan.random.normals(5 * width, deviation);
      const ups = plan.random.normals(5 * width);
      if (deviation > 1) gates.set([-150, 120]); // past where the exponential overflows and underflows
      return oneStep(
        plan,
        5,
        new Map([
          [gate, gates],
          [up, ups],
        ]),
      );
    },
  };
}

function ropeCase(headDim: number, heads: number): ConformanceCase {
  const width = headDim * heads;
  return {
    name: `rope [40, ${heads} x ${headDim}]`,
    budget: ropeBudget,
    exactPages: false,
    setup() {
      const plan = casePlan(headDim);
      const x = plan.builder.input("x", width);
      const rope = plan.builder.ropeTable({
        inverseFrequencies: Float32Array.from({ length: headDim / 2 }, (_, i) => 10_000 ** ((-2 * i) / headDim)),
        magnitude: 1.25,
      });
      plan.builder.output(plan.builder.rope("out", x, rope, headDim));
      return oneStep(plan, 40, new Map([[x, plan.random.normals(40 * width)]]));
    },
  };
}

function gatherCase(width: number): ConformanceCase {
  return {
    name: `gatherRows [11, ${width}]`,
    budget: exact,
    exactPages: false,
    setup() {
      const plan = casePlan(width, { vocabSize: width });
      const x = plan.builder.input("x", width);
      const out = plan.builder.gatherRows("out", x);
      plan.builder.output(out);
      plan.builder.logits(out);
      return oneStep(plan, 11, new Map([[x, plan.random.normals(11 * width)]]), { wants: "logits" });
    },
  };
}
