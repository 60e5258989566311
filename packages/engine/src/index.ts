export type {
  ChatMessage,
  Engine,
  EngineObserver,
  EngineState,
  EngineStats,
  FinishReason,
  GenerateEvent,
  GenerateRequest,
  ModelInfo,
  PromptInput,
  RequestTimings,
  TensorClassReport,
  TokenLogprob,
  Usage,
} from "./engine.ts";
export type { EngineOptions, LoadProgress } from "./engine-options.ts";
export { createEngine, LocalEngine, type LocalEngineHooks } from "./local-engine.ts";
export { type EngineProcessHooks, RemoteEngine, startEngineProcess } from "./process/remote-engine.ts";
