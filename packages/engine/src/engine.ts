import type { ErrorCode } from "@kvant/core";

/** One message of a chat, in the shape chat templates read. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly name?: string;
}

export type PromptInput =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tokens"; readonly tokenIds: readonly number[] }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[]; readonly addGenerationPrompt?: boolean };

/** Every field but `prompt` is optional; the defaults stand beside the fields. */
export interface GenerateRequest {
  readonly prompt: PromptInput;
  /** Default: what is left of the context. */
  readonly maxTokens?: number;
  /** 0: greedy. Default 1. */
  readonly temperature?: number;
  /** Default 1 (off). */
  readonly topP?: number;
  /** Default 0 (off). */
  readonly topK?: number;
  /** Default 0 (off). */
  readonly minP?: number;
  /** Default 1 (off). */
  readonly repetitionPenalty?: number;
  /** Default 0. */
  readonly frequencyPenalty?: number;
  /** Default 0. */
  readonly presencePenalty?: number;
  /** Token id to bias, added to the logit. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /** Same seed, same request, same tokens. Default: drawn at random. */
  readonly seed?: number;
  /** Texts that end a completion; they are not part of its text. */
  readonly stop?: readonly string[];
  readonly stopTokenIds?: readonly number[];
  /** Default false. */
  readonly ignoreEos?: boolean;
  /** No end of sequence before this many tokens. Default 0. */
  readonly minTokens?: number;
  /** Completions per prompt. Default 1. */
  readonly n?: number;
  /** undefined: none; 0: of the drawn token; k: also the k most likely. */
  readonly logprobs?: number;
  /** Sequences share cached prefixes only under the same salt. */
  readonly cacheSalt?: string;
  /** Lower runs first; default 0. */
  readonly priority?: number;
  /** Milliseconds from submission after which the request ends with DEADLINE_EXCEEDED. */
  readonly deadlineMilliseconds?: number;
}

export interface TokenLogprob {
  readonly tokenId: number;
  /** The token's own text; may hold U+FFFD where a character spans tokens. */
  readonly text: string;
  readonly bytes: readonly number[];
  readonly logprob: number;
  readonly top: readonly {
    readonly tokenId: number;
    readonly text: string;
    readonly bytes: readonly number[];
    readonly logprob: number;
  }[];
}

export type FinishReason = "stop" | "length";

export interface RequestTimings {
  readonly queueSeconds: number;
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
}

export interface Usage {
  readonly promptTokens: number;
  /** Prompt tokens found in the prefix cache. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

export type GenerateEvent =
  /** New text of one completion; a slow reader gets several steps merged into one delta. */
  | {
      readonly type: "delta";
      readonly index: number;
      readonly text: string;
      readonly tokenIds: readonly number[];
      /** One per token id, when the request asked for them. */
      readonly logprobs: readonly TokenLogprob[];
    }
  /** `stopText`: the stop string that matched. `stopTokenId`: the stop or end-of-sequence token that matched. */
  | {
      readonly type: "finish";
      readonly index: number;
      readonly reason: FinishReason;
      readonly stopText: string | undefined;
      readonly stopTokenId: number | undefined;
    }
  /** The last event of a request. */
  | { readonly type: "done"; readonly usage: Usage; readonly timings: RequestTimings };

/** The events of one request. Read it once, in one of the two ways. */
export interface GenerateStream extends AsyncIterable<GenerateEvent> {
  /**
   * Hands every event to the taker in the turn in which it comes, without a promise in between. Resolves after the last event;
   * rejects with the request's error, or with what `take` throws, which leaves the request.
   */
  handTo(taker: EventTaker): Promise<void>;
}

export interface EventTaker {
  /** While a promise that it returned is pending, events gather and deltas merge, as for a loop that is slow. */
  take(event: GenerateEvent): Promise<void> | undefined;
}

/** What a tensor class of the served model really is. */
export interface TensorClassReport {
  readonly class: string;
  readonly tensorCount: number;
  readonly elementCount: number;
  /** Weight format name, e.g. `int8-channel`, `bf16`. */
  readonly format: string;
  /** How activations enter the products with it, e.g. `int8 (per token)`; undefined: it is not multiplied. */
  readonly activations: string | undefined;
  readonly isQuantized: boolean;
  readonly bytes: number;
}

export interface ModelInfo {
  readonly name: string;
  readonly architecture: string;
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly weights: string;
  readonly activations: string;
  readonly kvFormat: string;
  readonly device: string;
  readonly backend: string;
  readonly tier: string;
  readonly threads: number;
  /** Whether a sequence's tokens never depend on what else runs; only a GPU's faster kernels give that up. */
  readonly deterministic: boolean;
  readonly hasTokenizer: boolean;
  readonly hasChatTemplate: boolean;
  readonly tensorClasses: readonly TensorClassReport[];
  readonly pageTokens: number;
  /** Pages over all layer groups, the reserved ones not counted. */
  readonly pageCount: number;
  readonly kvBytes: { readonly codes: number; readonly scales: number };
  /** Host memory for the pages of preempted sequences. */
  readonly swapBytes: number;
  readonly weightBytes: Readonly<Record<string, number>>;
  readonly activationBytes: number;
  /** What the device has in all: its own memory, or on device cpu the machine's, a container's where that is less. */
  readonly deviceMemoryBytes: number;
  /** Seconds from engine start to ready. */
  readonly loadSeconds: number;
}

/** Gauges and counters since the engine process started. */
export interface EngineStats {
  readonly running: number;
  readonly waiting: number;
  readonly pages: { readonly free: number; readonly cached: number; readonly used: number };
  /** Pages of host memory, where preempted sequences wait. */
  readonly hostPages: { readonly free: number; readonly used: number };
  readonly promptTokens: number;
  readonly generationTokens: number;
  readonly prefixQueryTokens: number;
  readonly prefixHitTokens: number;
  readonly preemptions: { readonly recompute: number; readonly swap: number };
  readonly saturations: number;
  /** Resident bytes of the process that runs the engine. */
  readonly residentBytes: number;
  /** Times the engine process was restarted. */
  readonly restarts: number;
}

export type EngineState = "starting" | "ready" | "restarting" | "draining" | "closed";

/** One step of the engine that has ended. */
export interface StepNews {
  readonly kind: "prefill" | "decode" | "mixed";
  /** That its plan took. */
  readonly seconds: number;
  /** Outside kernels: from the last one of the step before to the first of this one; only device cpu tells. */
  readonly gapSeconds?: number | undefined;
  readonly tokens: number;
}

/** Called by the engine as things happen; must not throw and must be quick. */
export interface EngineObserver {
  step?(step: StepNews): void;
  state?(state: EngineState): void;
}

export interface Engine {
  /** Throws ENGINE_NOT_READY before the first `ready`. */
  readonly model: ModelInfo;
  readonly state: EngineState;
  /**
   * Streams one request. Its reader gets a KvantError when the request is refused (REQUEST_INVALID, CONTEXT_EXCEEDED,
   * TOKEN_OUT_OF_RANGE, QUEUE_FULL, ...) or fails (DEADLINE_EXCEEDED, ENGINE_DIED). Aborting `signal`, or leaving the loop,
   * frees its pages within one step.
   */
  generate(request: GenerateRequest, signal?: AbortSignal): GenerateStream;
  /** Throws TOKENIZER_ABSENT, CHAT_TEMPLATE_ABSENT. */
  tokenize(prompt: PromptInput, options?: { readonly addSpecialTokens?: boolean }): Promise<readonly number[]>;
  detokenize(tokenIds: readonly number[]): Promise<string>;
  /** Of an engine process: up to 100 ms old while sequences decode and none comes or goes. */
  stats(): EngineStats;
  observe(observer: EngineObserver): () => void;
  /** Refuses new requests with SHUTTING_DOWN and resolves when the running ones have ended. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** What crosses a process boundary in place of a KvantError. */
export interface SerializedError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly field: string | undefined;
}
