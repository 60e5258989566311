import type { Backend, BackendInfo } from "../backend.ts";
import type { BackendOptions } from "../backends.ts";
import type { AbsentKernels } from "./absent-kernels.ts";
import { conformanceCases } from "./cases/index.ts";
import { runCase } from "./conformance-case.ts";
import { batchChecks } from "./properties/batch-invariance.ts";
import { pageMoveChecks } from "./properties/page-moves.ts";
import { codeRejectionChecks } from "./properties/rejected-codes.ts";
import { rejectionChecks } from "./properties/rejected-steps.ts";
import { samplerChecks } from "./properties/sampler-equality.ts";
import { inFlightChecks } from "./properties/steps-in-flight.ts";
import { warmUpChecks } from "./properties/warm-up.ts";
import { weightCodeChecks } from "./properties/weight-codes.ts";
import { weightRowChecks } from "./properties/weight-rows.ts";

/** Makes the backend under test; properties vary the number of threads. */
export type BackendFactory = (options?: BackendOptions) => Backend;

/** One thing a backend must do. */
export interface ConformanceCheck {
  readonly group: string;
  readonly name: string;
  /** Holds only where the backend's arithmetic is exact. */
  readonly needsExact?: true;
  readonly absentOn?: AbsentKernels | undefined;
  /** Returns sentences about what is wrong; none when the backend conforms. */
  run(create: BackendFactory): Promise<readonly string[]>;
}

/** The whole suite: cases against the reference, then properties. */
export const conformanceChecks: readonly ConformanceCheck[] = [
  ...conformanceCases.flatMap(({ op, cases }) =>
    cases.map((each) => ({
      group: op,
      name: each.name,
      absentOn: each.absentOn,
      run: async (create: BackendFactory) => (await runCase(each, create())).failures,
    })),
  ),
  ...batchChecks,
  ...pageMoveChecks,
  ...inFlightChecks,
  ...warmUpChecks,
  ...samplerChecks,
  ...rejectionChecks,
  ...weightRowChecks,
  ...weightCodeChecks,
  ...codeRejectionChecks,
];

/** The checks that a backend of this arithmetic must pass. */
export function checksFor(arithmetic: BackendInfo["arithmetic"]): readonly ConformanceCheck[] {
  return conformanceChecks.filter(({ needsExact }) => needsExact === undefined || arithmetic === "exact");
}

export interface ConformanceSummary {
  readonly passed: number;
  /** Checks that the backend has no kernel for. */
  readonly skipped: readonly { readonly check: string; readonly reason: string }[];
  readonly failures: readonly { readonly check: string; readonly sentences: readonly string[] }[];
}

/** Runs all that holds for the backend without a test runner; `report` hears of every check. */
export async function runConformance(
  create: BackendFactory,
  report: (check: string, sentences: readonly string[]) => void = () => undefined,
): Promise<ConformanceSummary> {
  let passed = 0;
  const { name: backend } = create().info;
  const skipped: { check: string; reason: string }[] = [];
  const failures: { check: string; sentences: readonly string[] }[] = [];
  for (const check of checksFor(create().info.arithmetic)) {
    const name = `${check.group}: ${check.name}`;
    const reason = check.absentOn?.[backend];
    if (reason !== undefined) {
      skipped.push({ check: name, reason });
      continue;
    }
    const sentences = await check.run(create).catch((error: unknown) => [String(error)]);
    report(name, sentences);
    if (sentences.length === 0) passed += 1;
    else failures.push({ check: name, sentences });
  }
  return { passed, skipped, failures };
}
