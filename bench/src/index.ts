export { decodeStepBytes } from "./engine/live-bytes.ts";
export { type EngineMeasurement, type MeasureEngineOptions, measureEngine } from "./engine/measure-engine.ts";
export { type KernelOp, kernelOps } from "./kernels/kernel-case.ts";
export { type KernelMeasurement, type MeasureKernelsOptions, measureKernels } from "./kernels/measure-kernels.ts";
export { type MeasurePeersOptions, measurePeers, type PeerMeasurement } from "./peers/measure-peers.ts";
export { type PeerCommand, servePeer } from "./peers/peer-process.ts";
export { compareRow, klDivergence, negativeLogLikelihood, type RowComparison } from "./quality/divergence.ts";
export { type EvaluatedModel, type EvaluateOptions, type Evaluation, evaluate } from "./quality/evaluate.ts";
export { type GenerateSequencesOptions, generateSequences } from "./quality/generate-sequences.ts";
export { type Cluster, type MeanInterval, meanInterval } from "./quality/mean-interval.ts";
export { type MeasureCostOptions, measureCost, type SchemeCost } from "./quality/measure-cost.ts";
export { type MeasureQualityOptions, measureQuality, type QualityRow } from "./quality/measure-quality.ts";
export { type ModelSize, modelSize } from "./quality/model-size.ts";
export { outlierClaims, type QualityClaim, qualityClaims } from "./quality/quality-claims.ts";
export {
  defaultQualitySchemes,
  outlierQualitySchemes,
  parseQualityScheme,
  type QualityScheme,
} from "./quality/quality-scheme.ts";
export { quantizationPage, quantizationSummary } from "./quality/quantization-page.ts";
export { type Window, windows } from "./quality/windows.ts";
export {
  type MeasureServingOptions,
  measureServing,
  type ProcessShare,
  type ServingMeasurement,
} from "./serving/measure-serving.ts";
