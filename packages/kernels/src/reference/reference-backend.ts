import type { Backend, CompileOptions, Executable } from "../backend.ts";
import type { Plan } from "../plan.ts";
import { ReferenceExecutable } from "./reference-executable.ts";

/**
 * Runs plans in plain TypeScript, one short file per op: slow, obvious, and present everywhere. Every other backend is
 * tested against it.
 */
export function createReferenceBackend(): Backend {
  return {
    info: { name: "reference", tier: "typescript", threads: 1, arithmetic: "exact" },
    compile: (plan: Plan, options: CompileOptions): Executable => new ReferenceExecutable(plan, options),
  };
}
