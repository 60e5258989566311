import { KvantError } from "@kvant/core";
import type {
  Engine,
  EngineObserver,
  EngineState,
  EngineStats,
  GenerateRequest,
  GenerateStream,
  ModelInfo,
  PromptInput,
} from "./engine.ts";
import { EngineCore } from "./engine-core.ts";
import type { EngineOptions, LoadProgress } from "./engine-options.ts";
import { EventStream } from "./event-stream.ts";
import type { RequestSink } from "./generation.ts";
import { type LoadedModel, loadEngineModel } from "./load-engine-model.ts";
import { promptIds } from "./prompt-ids.ts";

/** Resident memory is read this often at most: statistics go out with every step, and the kernel takes up to a millisecond. */
const residentMilliseconds = 500;

export interface LocalEngineHooks {
  readonly onProgress?: (progress: LoadProgress) => void;
  /** After the events of one step have reached their readers. */
  readonly onFlush?: () => void;
  readonly onFault?: (error: unknown) => void;
}

/**
 * Loads a model and runs it in this process, on the backend's own threads.
 * @throws CHECKPOINT_*, CONFIG_INVALID, TENSOR_*, FORMAT_UNKNOWN, BACKEND_UNAVAILABLE, NATIVE_NOT_FOUND, OUT_OF_MEMORY,
 * KV_TOO_SMALL
 */
export async function createEngine(options: EngineOptions, hooks: LocalEngineHooks = {}): Promise<LocalEngine> {
  return new LocalEngine(await loadEngineModel(options, hooks.onProgress), options, hooks);
}

/** An engine in the caller's process. */
export class LocalEngine implements Engine {
  readonly model: ModelInfo;
  readonly #loaded: LoadedModel;
  readonly #core: EngineCore;
  readonly #observers = new Set<EngineObserver>();
  #state: EngineState = "ready";
  #closing: Promise<void> | undefined;
  #resident = { bytes: 0, readAt: Number.NEGATIVE_INFINITY };

  constructor(loaded: LoadedModel, options: EngineOptions, hooks: LocalEngineHooks = {}) {
    this.#loaded = loaded;
    this.model = loaded.info;
    this.#core = new EngineCore({
      executable: loaded.executable,
      tokenizer: loaded.tokenizer,
      bounds: loaded.bounds,
      pageTokens: loaded.pageTokens,
      pageCounts: loaded.pageCounts,
      hostPageCounts: loaded.hostPageCounts,
      maxRows: loaded.maxRows,
      maxStepTokens: loaded.maxStepTokens,
      prefixReuse: options.prefixReuse ?? true,
      streamInterval: options.streamInterval ?? 1,
      checkInvariant: options.checkInvariant ?? false,
      onStep: (step) => {
        for (const observer of this.#observers) observer.step?.(step);
      },
      ...(hooks.onFlush === undefined ? {} : { onFlush: hooks.onFlush }),
      ...(hooks.onFault === undefined ? {} : { onFault: hooks.onFault }),
    });
  }

  /** Kernel variants in use, without repeats. */
  get variants(): readonly string[] {
    return [...new Set(this.#loaded.executable.variants)];
  }

  get state(): EngineState {
    return this.#state;
  }

  generate(request: GenerateRequest, signal?: AbortSignal): GenerateStream {
    let cancel: (() => void) | undefined;
    const abort = (): void => {
      cancel?.();
      stream.fail(new KvantError("CANCELLED", "the request was cancelled"));
    };
    const forget = (): void => signal?.removeEventListener("abort", abort);
    const stream = new EventStream(() => {
      forget();
      cancel?.();
    });
    try {
      if (signal?.aborted) throw new KvantError("CANCELLED", "the request was cancelled before it started");
      cancel = this.submit(request, {
        event: (event) => stream.push(event),
        end: () => {
          forget();
          stream.end();
        },
        fail: (error) => {
          forget();
          stream.fail(error);
        },
      });
      signal?.addEventListener("abort", abort, { once: true });
    } catch (error) {
      stream.fail(error);
    }
    return stream;
  }

  /** Like `generate`, with pushed events. @returns a function that cancels. */
  submit(request: GenerateRequest, sink: RequestSink): () => void {
    if (this.#state !== "ready") {
      throw new KvantError("SHUTTING_DOWN", `the engine is ${this.#state} and takes no new requests`);
    }
    return this.#core.submit(request, promptIds(request.prompt, this.#loaded.tokenizer), sink);
  }

  async tokenize(
    prompt: PromptInput,
    options: { readonly addSpecialTokens?: boolean } = {},
  ): Promise<readonly number[]> {
    return [...promptIds(prompt, this.#loaded.tokenizer, options.addSpecialTokens ?? true)];
  }

  async detokenize(tokenIds: readonly number[]): Promise<string> {
    const { tokenizer, bounds } = this.#loaded;
    if (tokenizer === undefined)
      throw new KvantError("TOKENIZER_ABSENT", "the model has no tokenizer, so token ids have no text");
    const stray = tokenIds.find((id) => !Number.isInteger(id) || id < 0 || id >= bounds.vocabSize);
    if (stray !== undefined) {
      const sentence = `tokens holds ${stray}; ids run from 0 to ${bounds.vocabSize - 1}`;
      throw new KvantError("TOKEN_OUT_OF_RANGE", sentence, { field: "tokens" });
    }
    return tokenizer.decode(tokenIds, { skipSpecial: false });
  }

  stats(): EngineStats {
    return { ...this.#core.stats(), residentBytes: this.#residentBytes(), restarts: 0 };
  }

  observe(observer: EngineObserver): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  async drain(): Promise<void> {
    if (this.#state === "ready") this.#setState("draining");
    await this.#core.whenIdle();
  }

  #residentBytes(): number {
    const now = performance.now();
    if (now - this.#resident.readAt >= residentMilliseconds) {
      this.#resident = { bytes: process.memoryUsage.rss(), readAt: now };
    }
    return this.#resident.bytes;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#setState("closed");
    await this.#core.close();
    await this.#loaded.close();
  }

  #setState(state: EngineState): void {
    this.#state = state;
    for (const observer of this.#observers) observer.state?.(state);
  }
}
