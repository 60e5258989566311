export type { AbsentKernels } from "./absent-kernels.ts";
export { conformanceCases } from "./cases/index.ts";
export {
  type CaseReport,
  type CaseSetup,
  type CaseStep,
  type ConformanceCase,
  runCase,
} from "./conformance-case.ts";
export {
  type BackendFactory,
  type ConformanceCheck,
  type ConformanceSummary,
  checksFor,
  conformanceChecks,
  runConformance,
} from "./conformance-check.ts";
export type { ErrorBudget } from "./error-budgets.ts";
export { Random } from "./random.ts";
export { type DriverRow, greedy, StepDriver } from "./step-driver.ts";
export { type TinyDecoder, tinyDecoder, tinyDecoders } from "./tiny-decoder.ts";
