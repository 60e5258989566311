import { errorCode, KvantError } from "@kvant/core";
import type {
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  ModelInfo,
  PromptInput,
  SerializedError,
  StepNews,
} from "../engine.ts";
import type { EngineOptions, LoadProgress } from "../engine-options.ts";
import type { TokenNews } from "./token-news.ts";

/** From the server process to the engine process. Ids are chosen by the sender and never reused. */
export type ToEngine =
  | { readonly type: "open"; readonly options: EngineOptions }
  | { readonly type: "generate"; readonly id: number; readonly request: GenerateRequest }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "tokenize"; readonly id: number; readonly prompt: PromptInput; readonly addSpecialTokens: boolean }
  | { readonly type: "detokenize"; readonly id: number; readonly tokenIds: readonly number[] }
  | { readonly type: "close" };

/** What happened to one request since the last message. */
export interface RequestNews {
  readonly id: number;
  readonly events: GenerateEvent[];
  /** `end` after its last event; an error ends it too. */
  outcome: "running" | "end" | SerializedError;
}

/** From the engine process. One `news` message per step carries the tokens of all requests. */
export type FromEngine =
  | { readonly type: "progress"; readonly progress: LoadProgress }
  | { readonly type: "ready"; readonly model: ModelInfo }
  | {
      readonly type: "news";
      readonly requests: readonly RequestNews[];
      /** They come before what `requests` says of the same request. */
      readonly tokens?: TokenNews;
      readonly steps: readonly StepNews[];
      /** Absent: as last told, but for what a few steps of decoding changed. */
      readonly stats: EngineStats | undefined;
    }
  | { readonly type: "tokens"; readonly id: number; readonly tokenIds: readonly number[] }
  | { readonly type: "text"; readonly id: number; readonly text: string }
  | { readonly type: "refused"; readonly id: number; readonly error: SerializedError }
  /** The process ends after this one. */
  | { readonly type: "fatal"; readonly error: SerializedError };

export function serializeError(error: unknown): SerializedError {
  const message = error instanceof Error ? error.message : String(error);
  return { code: errorCode(error), message, field: error instanceof KvantError ? error.field : undefined };
}

export function deserializeError({ code, message, field }: SerializedError): KvantError {
  return new KvantError(code, message, field === undefined ? {} : { field });
}
