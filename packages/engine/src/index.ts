export type {
  ChatMessage,
  Engine,
  EngineObserver,
  EngineState,
  EngineStats,
  EventTaker,
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  GenerateStream,
  ModelInfo,
  PromptInput,
  RequestTimings,
  StepNews,
  TensorClassReport,
  TokenLogprob,
  Usage,
} from "./engine.ts";
export type { EngineOptions, LoadProgress } from "./engine-options.ts";
export { ForwardPass, type ForwardPassOptions } from "./forward-pass.ts";
export {
  defaultStepTokens,
  type LoadedModel,
  loadEngineModel,
  type ModelSource,
  openModel,
  type PlannedModel,
  planModel,
  tensorClasses,
} from "./load-engine-model.ts";
export { createEngine, LocalEngine, type LocalEngineHooks } from "./local-engine.ts";
export { type ForwardPassModel, type OpenForwardPass, openForwardPass } from "./open-forward-pass.ts";
export { groupPageBytes, type PageBudget, pageBudget } from "./page-budget.ts";
export { type EngineProcessHooks, RemoteEngine, startEngineProcess } from "./process/remote-engine.ts";
export { accelerateQuantizers, type QuantizerSpeed } from "./quantize/accelerate-quantizers.ts";
export { layerParts } from "./quantize/layer-parts.ts";
export { LayerRunner, type LayerRunnerOptions } from "./quantize/layer-runner.ts";
export { drawCalibration, openQuantizeSource, type QuantizeSource } from "./quantize/quantize-source.ts";
