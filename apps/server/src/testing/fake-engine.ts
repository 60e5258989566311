import { KvantError, limit } from "@kvant/core";
import type {
  Engine,
  EngineObserver,
  EngineState,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  GenerateStream,
  ModelInfo,
  PromptInput,
} from "@kvant/engine";
import { type FakeRequest, runFakeRequest } from "./fake-request.ts";
import { decodeTokens, encodeText, vocabSize } from "./fake-vocabulary.ts";

export interface FakeEngineOptions {
  /** Milliseconds between two tokens of a sequence; 0 (the default) yields to the event loop between them. */
  readonly stepMilliseconds?: number;
  /** Milliseconds before the first token; default 0. */
  readonly prefillMilliseconds?: number;
  /** Every request pauses after its first tokens until this resolves. */
  readonly holdUntil?: Promise<void>;
  /** Every request ends with ENGINE_DIED after this many tokens. */
  readonly dieAfterTokens?: number;
  /** Requests held at once before QUEUE_FULL; default: the limit table's. */
  readonly queueLimit?: number;
  readonly contextLength?: number;
  readonly state?: EngineState;
  readonly hasTokenizer?: boolean;
  readonly hasChatTemplate?: boolean;
}

const idleStats: EngineStats = {
  running: 0,
  waiting: 0,
  pages: { free: 64, cached: 0, used: 0 },
  hostPages: { free: 0, used: 0 },
  promptTokens: 0,
  generationTokens: 0,
  prefixQueryTokens: 0,
  prefixHitTokens: 0,
  preemptions: { recompute: 0, swap: 0 },
  saturations: 0,
  residentBytes: 64 * 1024 * 1024,
  restarts: 0,
};

/**
 * An engine without a model: the same request gives the same tokens, at a pace the test chooses. It keeps the contract that
 * a server must rely on: merged deltas for a slow reader, pages freed on abort, refusals thrown from the iterator.
 */
export class FakeEngine implements Engine {
  /** Requests as they arrived, for assertions. */
  readonly received: GenerateRequest[] = [];
  /** Requests that ended because their signal fired or their reader left. */
  abandoned = 0;
  readonly #options: FakeEngineOptions;
  readonly #observers = new Set<EngineObserver>();
  readonly #running = new Set<FakeRequest>();
  #state: EngineState;
  #stats: EngineStats = idleStats;

  constructor(options: FakeEngineOptions = {}) {
    this.#options = options;
    this.#state = options.state ?? "ready";
  }

  get state(): EngineState {
    return this.#state;
  }

  get model(): ModelInfo {
    if (this.#state === "starting") throw new KvantError("ENGINE_NOT_READY", "the engine is starting");
    return fakeModel(this.#options);
  }

  /** Moves to a state as the real engine would, telling the observers. */
  setState(state: EngineState): void {
    this.#state = state;
    for (const observer of this.#observers) observer.state?.(state);
  }

  /** What the engine process does when it dies and comes back: its counters start from zero again. */
  restart(): void {
    this.#stats = { ...idleStats, restarts: this.#stats.restarts + 1 };
  }

  /** Adds to the counters, for tests of the metrics. */
  count(counts: Partial<EngineStats>): void {
    this.#stats = { ...this.#stats, ...counts };
  }

  generate(request: GenerateRequest, signal?: AbortSignal): GenerateStream {
    const events = this.#events(request, signal);
    return {
      [Symbol.asyncIterator]: () => events,
      handTo: async (taker) => {
        for await (const event of events) await taker.take(event);
      },
    };
  }

  async *#events(request: GenerateRequest, signal: AbortSignal | undefined): AsyncGenerator<GenerateEvent> {
    this.received.push(request);
    const promptTokenIds = this.#admit(request);
    const state: FakeRequest = { request, promptTokenIds, settled: false };
    this.#running.add(state);
    try {
      yield* runFakeRequest(state, {
        stepMilliseconds: this.#options.stepMilliseconds ?? 0,
        prefillMilliseconds: this.#options.prefillMilliseconds ?? 0,
        holdUntil: this.#options.holdUntil,
        dieAfterTokens: this.#options.dieAfterTokens,
        signal,
        onStep: (tokens) => this.#settleStep(tokens),
      });
      this.#stats = { ...this.#stats, promptTokens: this.#stats.promptTokens + promptTokenIds.length };
    } finally {
      this.#running.delete(state);
      if (!state.settled) this.abandoned++;
    }
  }

  async tokenize(prompt: PromptInput, options: { readonly addSpecialTokens?: boolean } = {}): Promise<number[]> {
    if (prompt.kind === "tokens") return [...prompt.tokenIds];
    if (this.#options.hasTokenizer === false) throw new KvantError("TOKENIZER_ABSENT", "the model has no tokenizer");
    if (prompt.kind === "text") return encodeText(prompt.text, options.addSpecialTokens ?? true);
    if (this.#options.hasChatTemplate === false) {
      throw new KvantError("CHAT_TEMPLATE_ABSENT", "the model has no chat template");
    }
    return encodeText(chatText(prompt), options.addSpecialTokens ?? true);
  }

  async detokenize(tokenIds: readonly number[]): Promise<string> {
    return decodeTokens(tokenIds);
  }

  stats(): EngineStats {
    const running = this.#running.size;
    return { ...this.#stats, running, pages: { free: 64 - running, cached: 0, used: running } };
  }

  observe(observer: EngineObserver): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  async drain(): Promise<void> {
    this.setState("draining");
    while (this.#running.size > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  async close(): Promise<void> {
    this.setState("closed");
  }

  #admit(request: GenerateRequest): readonly number[] {
    if (this.#state === "draining") throw new KvantError("SHUTTING_DOWN", "the engine is draining");
    if (this.#state !== "ready") throw new KvantError("ENGINE_NOT_READY", `the engine is ${this.#state}`);
    const queueLimit = this.#options.queueLimit ?? limit("queuedRequests");
    if (this.#running.size >= queueLimit) {
      throw new KvantError("QUEUE_FULL", `${this.#running.size} requests wait; the limit is ${queueLimit}`);
    }
    const promptTokenIds = this.#promptTokens(request.prompt);
    const { contextLength } = this.model;
    const needed = promptTokenIds.length + (request.maxTokens ?? 1);
    if (needed > contextLength) {
      throw new KvantError(
        "CONTEXT_EXCEEDED",
        `prompt of ${promptTokenIds.length} tokens and max_tokens ${request.maxTokens ?? 1} make ${needed}; the context is ${contextLength}`,
        { field: "prompt" },
      );
    }
    return promptTokenIds;
  }

  #promptTokens(prompt: PromptInput): readonly number[] {
    if (prompt.kind === "tokens") return prompt.tokenIds;
    if (this.#options.hasTokenizer === false) throw new KvantError("TOKENIZER_ABSENT", "the model has no tokenizer");
    return encodeText(prompt.kind === "text" ? prompt.text : chatText(prompt), true);
  }

  #settleStep(tokens: number): void {
    this.#stats = { ...this.#stats, generationTokens: this.#stats.generationTokens + tokens };
    for (const observer of this.#observers) observer.step?.({ kind: "decode", seconds: 0.001, tokens });
  }
}

function chatText(prompt: Extract<PromptInput, { kind: "chat" }>): string {
  const turns = prompt.messages.map(({ role, content }) => `${role}: ${content}\n`).join("");
  return prompt.addGenerationPrompt === false ? turns : `${turns}assistant:`;
}

const int8 = { activations: "int8", isQuantized: true };
const kept = { activations: "bf16", isQuantized: false };

function fakeModel(options: FakeEngineOptions): ModelInfo {
  return {
    name: "fake",
    architecture: "llama",
    contextLength: options.contextLength ?? 1024,
    vocabSize,
    weights: "int8-channel",
    activations: "bf16",
    kvFormat: "int8",
    device: "cpu",
    backend: "fake",
    tier: "scalar",
    threads: 1,
    deterministic: true,
    hasTokenizer: options.hasTokenizer ?? true,
    hasChatTemplate: options.hasChatTemplate ?? true,
    tensorClasses: [
      { class: "attention.qkv", tensorCount: 4, elementCount: 4096, format: "int8-channel", bytes: 4352, ...int8 },
      { class: "norm", tensorCount: 9, elementCount: 576, format: "bf16", bytes: 1152, ...kept },
    ],
    pageTokens: 16,
    pageCount: 64,
    kvBytes: { codes: 65536, scales: 4096 },
    swapBytes: 0,
    weightBytes: { "int8-channel": 4352, bf16: 1152 },
    activationBytes: 2048,
    deviceMemoryBytes: 8e9,
    loadSeconds: 0.25,
  };
}
