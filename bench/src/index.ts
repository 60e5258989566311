export { decodeStepBytes } from "./engine/live-bytes.ts";
export { type EngineMeasurement, type MeasureEngineOptions, measureEngine } from "./engine/measure-engine.ts";
export { type KernelOp, kernelOps } from "./kernels/kernel-case.ts";
export { type KernelMeasurement, type MeasureKernelsOptions, measureKernels } from "./kernels/measure-kernels.ts";
export { type MeasurePeersOptions, measurePeers, type PeerMeasurement } from "./peers/measure-peers.ts";
export { type PeerCommand, servePeer } from "./peers/peer-process.ts";
export { klDivergence, negativeLogLikelihood } from "./quality/divergence.ts";
export { type EvaluateOptions, type Evaluation, evaluate } from "./quality/evaluate.ts";
export { type Window, windows } from "./quality/windows.ts";
export {
  type MeasureServingOptions,
  measureServing,
  type ProcessShare,
  type ServingMeasurement,
} from "./serving/measure-serving.ts";
