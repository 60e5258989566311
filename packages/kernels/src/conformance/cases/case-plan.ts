import type { CompileOptions } from "../../backend.ts";
import type { BufferId, WeightId } from "../../plan.ts";
import { PlanBuilder } from "../../plan-builder.ts";
import type { CaseSetup, CaseStep } from "../conformance-case.ts";
import { Random } from "../random.ts";
import type { DriverRow } from "../step-driver.ts";

/** What a case records its plan with. */
export interface CasePlan {
  readonly builder: PlanBuilder;
  readonly random: Random;
  readonly weights: Map<WeightId, Float32Array>;
  /** A matrix, table or vector with values. */
  weight(weight: Parameters<PlanBuilder["weight"]>[0], values: Float32Array): WeightId;
}

export function casePlan(
  seed: number,
  shape: { readonly vocabSize?: number; readonly contextLength?: number } = {},
): CasePlan {
  const { vocabSize = 16, contextLength = 512 } = shape;
  const builder = new PlanBuilder({ name: "conformance", vocabSize, contextLength });
  const weights = new Map<WeightId, Float32Array>();
  return {
    builder,
    random: new Random(seed),
    weights,
    weight(weight, values) {
      const id = builder.weight(weight);
      weights.set(id, values);
      return id;
    },
  };
}

/** Options that fit `tokens` per step and some dozen pages of each group. */
export function caseOptions(groups: number, options: Partial<CompileOptions> = {}): CompileOptions {
  return {
    pageTokens: 16,
    pageCounts: Array.from({ length: groups }, () => 24),
    maxRows: 8,
    maxTokens: 256,
    maxLogitRows: 256,
    ...options,
  };
}

/** A setup with one step of one row whose inputs are given. */
export function oneStep(
  plan: CasePlan,
  tokens: number,
  inputs: ReadonlyMap<BufferId, Float32Array>,
  row: Partial<DriverRow> = {},
): CaseSetup {
  const built = plan.builder.build();
  const step: CaseStep = {
    inputs,
    rows: [{ slot: 0, tokenIds: plan.random.tokenIds(tokens, built.vocabSize), wants: "nothing", ...row }],
  };
  return { plan: built, options: caseOptions(built.kvGroups.length), weights: plan.weights, steps: [step] };
}
