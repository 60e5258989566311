/** What an engine serves and with what means. Plain data: it crosses to the engine process as it is. */
export interface EngineOptions {
  /** A model folder in Hugging Face layout; with `load: "dummy"` a named shape or a folder with a config.json. */
  readonly model: string;
  /** `dummy`: random weights of the model's shape, for benchmarks. Default `checkpoint`. */
  readonly load?: "checkpoint" | "dummy";
  /** Name in responses; default: the folder's or shape's name. */
  readonly servedModelName?: string;
  /** Weight format name, e.g. `int8-channel`; default: as stored. */
  readonly weights?: string;
  /** Format of the output head; default: see `resolveScheme` of @kvant/models. */
  readonly headFormat?: string;
  /** Activation format name; default: what the weight format implies. */
  readonly activations?: string;
  /** KV format name; default `bf16`. */
  readonly kvFormat?: string;
  /** `cpu` (default), `cuda`, `cuda:N` or `reference`. */
  readonly device?: string;
  /** On `cuda` only kernels that give a sequence the same bits in every batch; slower. Other devices always do. */
  readonly deterministic?: boolean;
  /** Compute threads; default: the machine's cores. */
  readonly threads?: number;
  /**
   * Bytes for KV pages. Default: room for 16 whole contexts, at most a quarter of the machine's memory; on `cuda` nine tenths
   * of what is free beside weights and activations, at most a whole context per sequence.
   */
  readonly kvMemoryBytes?: number;
  /**
   * Bytes of host memory that KV pages of preempted sequences are swapped out to; 0: they are computed again. Default on
   * `cuda` 4 GiB, page-locked, at most a quarter of the machine's memory and what the KV pages themselves take; else 0.
   */
  readonly swapMemoryBytes?: number;
  /** Pages instead of bytes, per layer group, the reserved one included. */
  readonly kvPages?: number;
  /** Tokens per page: 16 (default), 32 or 64. */
  readonly pageTokens?: number;
  /** Sequences that run at once; default and most: the limit `concurrentSequences`. */
  readonly maxSequences?: number;
  /** Tokens in one step; default 256, on `cuda` 2048. */
  readonly maxStepTokens?: number;
  /**
   * Tokens that a delta gathers before it goes out; the first token and the last ones never wait. Default 1. With 2, hundreds
   * of streams cost half as many messages and socket writes, and a reader gets two tokens at a time.
   */
  readonly streamInterval?: number;
  /**
   * Load kernels and record graphs before the engine is ready, in place of when requests first need them: on `cuda` this blocks for
   * some seconds, elsewhere it is nothing. Default false.
   */
  readonly warmUp?: boolean;
  /** Serve a shorter context than the model's; random weights take a longer one too. */
  readonly contextLength?: number;
  /** Share cached prefixes between requests; default true. */
  readonly prefixReuse?: boolean;
  /** Check the page accounting after every step (tests). Default false. */
  readonly checkInvariant?: boolean;
}

export interface LoadProgress {
  readonly tensor: string;
  readonly loadedBytes: number;
  readonly totalBytes: number;
}
