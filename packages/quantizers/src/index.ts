export { absmax } from "./absmax.ts";
export { type Acceleration, accelerate, acceleration } from "./acceleration.ts";
export { divideColumns, divideRows, divideVector, scaleColumns, scaleRows } from "./awq/fold-scales.ts";
export { type AwqClip, type AwqClipRequest, clipCandidates, searchAwqClip } from "./awq/search-awq-clip.ts";
export {
  type AwqScales,
  type AwqScalesRequest,
  chooseAwqScales,
  type LinearWeight,
  searchAwqScales,
} from "./awq/search-awq-scales.ts";
export { shareChannels } from "./awq/shared-channels.ts";
export { type GptqFactor, gptqFactor } from "./gptq/gptq-factor.ts";
export { type GptqOptions, type GptqResult, quantizeGptq } from "./gptq/quantize-gptq.ts";
export { type KvCalibration, kvCalibration, type StaticKvScales } from "./kv-calibration.ts";
export { addProduct, type Product } from "./linear-algebra/add-product.ts";
export { cholesky, choleskyInverse } from "./linear-algebra/cholesky.ts";
export { addGram } from "./linear-algebra/gram.ts";
export { type InverseFactor, inverseCholeskyUpper } from "./linear-algebra/inverse-cholesky.ts";
export { type MatrixView, reversed, rowMajor, tileAt, transposed } from "./linear-algebra/matrix-view.ts";
export { roundingErrors } from "./linear-algebra/output-error.ts";
export type { QuantizeMethod, QuantizeOptions } from "./method.ts";
export { quantizeMethod, quantizeMethods, quantizeWeight } from "./methods.ts";
export { type CalibrationGram, hostGram, type WithRestored } from "./model/calibration-gram.ts";
export { type CalibrationOptions, calibrationSamples } from "./model/calibration-text.ts";
export type { FloatFormat } from "./model/fold-part.ts";
export {
  type LinearRecipe,
  type LinearRecipeNames,
  needsCalibration,
  parseLinearRecipe,
} from "./model/linear-recipe.ts";
export { type OutlierTwinOptions, writeOutlierTwin } from "./model/outlier-twin.ts";
export { collectStatistics, PartCollector, type PartStatistics, sampleStride } from "./model/part-statistics.ts";
export { type QuantizedLayer, type QuantizeLayerOptions, quantizeLayer } from "./model/quantize-layer.ts";
export { type FinishedLayer, type QuantizeModelOptions, quantizeModel } from "./model/quantize-model.ts";
export {
  type ActivationCollector,
  type Arithmetic,
  type ForwardLayerOptions,
  feedTap,
  keysTap,
  type LayerPart,
  type LayerTap,
  type LayerTensors,
  type MagnitudeCollector,
  type QuantizeRuntime,
  type StatisticsCollector,
  valuesTap,
} from "./model/quantize-runtime.ts";
export {
  type CheckpointReport,
  type QuantizeCheckpointOptions,
  quantizeCheckpoint,
} from "./model/quantized-checkpoint.ts";
export { type KvRecipe, parseRecipe, type Recipe, uniformRecipe } from "./model/recipe.ts";
export {
  type ModuleSensitivity,
  type RecipeData,
  type SensitivityOption,
  type SensitivityScan,
  type SensitivityScanOptions,
  sensitivityScan,
} from "./model/sensitivity-scan.ts";
export type { ActivationObserver, StaticScaleFormat } from "./observers/activation-observer.ts";
export { Log2Histogram } from "./observers/log2-histogram.ts";
export {
  type ActivationObserverName,
  activationObservers,
  type HistogramObserver,
  minMaxObserver,
  movingAverageObserver,
  mseObserver,
  percentileObserver,
} from "./observers/observers.ts";
export { type QuantizationError, quantizationError } from "./quantization-error.ts";
export { MagnitudeCounts } from "./report/magnitude-counts.ts";
export type {
  KeptTensor,
  LinearReport,
  MagnitudeHistogram,
  QualityReport,
  QuantizationReport,
  ValueHistogram,
} from "./report/quantization-report.ts";
export { requireFinite } from "./require-finite.ts";
export { entropy } from "./scale-search/entropy.ts";
export { mse } from "./scale-search/mse.ts";
export { percentile } from "./scale-search/percentile.ts";
export { type AlphaRequest, type SmoothingChoice, searchAlpha } from "./smoothquant/search-alpha.ts";
export { addColumnMaxima, smoothingScales } from "./smoothquant/smoothing-scales.ts";
