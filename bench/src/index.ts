export type {
  ClientLoad,
  LiveLoad,
  LiveQuantiles,
  LoadBins,
  LoadHistograms,
  LoadRun,
  LoadTotals,
  ServerSample,
} from "./client/load-run.ts";
export type { Dialect, LoadTarget } from "./client/load-target.ts";
export { serveLoadWorker } from "./client/load-worker.ts";
export { type ClientMeasurement, measureClient } from "./client/measure-client.ts";
export { defaultWorkers, type RunLoadOptions, runLoad } from "./client/run-load.ts";
export type { WorkerCommand } from "./client/worker-command.ts";
export { coldMarkdown } from "./cold/cold-markdown.ts";
export { coldPage } from "./cold/cold-page.ts";
export {
  type ColdMedians,
  type ColdResult,
  type ColdRun,
  coldResultVersion,
  type StartKind,
  type StartMarks,
} from "./cold/cold-result.ts";
export { coldMedianTable, coldRunTable, coldSubject, evictionSentence } from "./cold/cold-table.ts";
export { type MeasureColdOptions, measureCold } from "./cold/measure-cold.ts";
export { modelFiles } from "./cold/page-cache.ts";
export { decodeStepBytes } from "./engine/live-bytes.ts";
export { type EngineMeasurement, type MeasureEngineOptions, measureEngine } from "./engine/measure-engine.ts";
export { type KernelOp, kernelOps } from "./kernels/kernel-case.ts";
export { type KernelMeasurement, type MeasureKernelsOptions, measureKernels } from "./kernels/measure-kernels.ts";
export type { LoadLevel, LoadResult } from "./load/load-result.ts";
export { type Machine, readMachine } from "./machine/read-machine.ts";
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
export { qualityMarkdown, qualityPage } from "./quality/quality-page.ts";
export { type QualityFailure, type QualityResult, qualityResultVersion } from "./quality/quality-result.ts";
export {
  defaultQualitySchemes,
  outlierQualitySchemes,
  parseQualityScheme,
  type QualityScheme,
} from "./quality/quality-scheme.ts";
export { type QualityTwin, type QualityTwinOptions, qualityTwin } from "./quality/quality-twin.ts";
export { quantizationPage, quantizationSummary } from "./quality/quantization-page.ts";
export { type Window, windows } from "./quality/windows.ts";
export {
  type MeasureQuantizationOptions,
  measureQuantization,
  type PhaseMeasurement,
  type QuantizationMeasurement,
} from "./quantize/measure-quantization.ts";
export {
  type ComparedMeasure,
  comparedMeasures,
  compareLoads,
  type LoadComparison,
} from "./results/compare-loads.ts";
export { comparisonMarkdown, comparisonNotes, comparisonTable } from "./results/comparison-table.ts";
export { loadMarkdown } from "./results/load-markdown.ts";
export { loadPage } from "./results/load-page.ts";
export { readLoadResult, writeLoadResult } from "./results/load-result-file.ts";
export { type LoadContext, loadResultOf } from "./results/load-result-of.ts";
export { type LoadRow, loadRow } from "./results/load-row.ts";
export { failureTable, latencyTable, levelTable } from "./results/load-tables.ts";
export { type Objectives, parseObjectives } from "./results/objectives.ts";
export { overlayPage } from "./results/overlay-page.ts";
export { repeatCommand, serveArguments } from "./results/repeat-command.ts";
export { replaceTextFile } from "./results/replace-text-file.ts";
export { cachedSentence, clientSentence, countedSentence, schemeText } from "./results/run-facts.ts";
export { milliseconds, textTable } from "./results/table-columns.ts";
export { describeServer, type ServerDescription } from "./serving/describe-server.ts";
export {
  type MeasuredLevel,
  type RunSweepOptions,
  runSweep,
  type Sweep,
  type SweepLevel,
} from "./serving/run-sweep.ts";
export type { ProcessShare, ServingCost } from "./serving/serving-cost.ts";
export { type StartedServer, startServer } from "./serving/started-server.ts";
export { levelSeed } from "./workload/level-seed.ts";
export { workloadFromOptions } from "./workload/workload-from-options.ts";
export { type DatasetName, datasetNames, type WorkloadOptions } from "./workload/workload-options.ts";
