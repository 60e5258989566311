export type {
  Backend,
  BackendInfo,
  CalibrationPresence,
  CompileOptions,
  DeviceMemory,
  Executable,
  MemoryReport,
  WeightSource,
} from "./backend.ts";
export { availableBackends, type BackendOptions, type BackendPresence, createBackend } from "./backends.ts";
export { type CpuBackendOptions, createCpuBackend, nativeInfo } from "./cpu/cpu-backend.ts";
export { loadAddon } from "./cpu/load-addon.ts";
export { describeLowered } from "./cpu/lowering/describe-lowered.ts";
export { type LoweredPlan, type LoweringOptions, lowerPlan } from "./cpu/lowering/lower-plan.ts";
export type { NativeAddon, NativeInfo, NativeMatrixView, NativeProduct } from "./cpu/native-addon.ts";
export { nativeQuantizeMath, type QuantizeMath, type QuantizeMathPresence } from "./cpu/quantize-math.ts";
export { type CudaBackendOptions, createCudaBackend, cudaAbsence } from "./cuda/cuda-backend.ts";
export {
  type ActivationFigures,
  type CalibrationOptions,
  DeviceCalibration,
  type DeviceQuantized,
} from "./cuda/device-calibration.ts";
export { buffersRead, bufferWritten, pinnedBuffers, weightsRead } from "./op-operands.ts";
export type {
  ActivationScheme,
  BufferId,
  KvGroup,
  KvScales,
  LinearActivation,
  Op,
  OpName,
  Plan,
  PlanBuffer,
  PlanWeight,
  RopeTable,
  WeightClass,
  WeightId,
} from "./plan.ts";
export { PlanBuilder, type PlanHeader } from "./plan-builder.ts";
export { describePlan, type OpCost, type PlanCost, planCost, type StepShape } from "./plan-cost.ts";
export { logProbability, topLogProbabilities } from "./reference/log-probability.ts";
export { philox4x32, uniform } from "./reference/philox.ts";
export { createReferenceBackend } from "./reference/reference-backend.ts";
export { type RowHistory, type Sampled, sample } from "./reference/sampler.ts";
export {
  FROM_PREVIOUS_STEP,
  greedy,
  type RowUpdate,
  rowWants,
  type SamplingParameters,
  type StepInputs,
  type StepOutputs,
  swapDirections,
} from "./step.ts";
export { StepChecker, type StepSize } from "./step-checker.ts";
export { validatePlan } from "./validate-plan.ts";
export { loadsByRows } from "./weight-values.ts";
