/** One engine under measurement, in a process of its own. Ids are token ids; sampling is greedy and ends never stop it. */
export interface PeerRunner {
  /**
   * Sequences that start together, each with its own prompt: they prefill, then decode.
   * @param prompts token ids, one list per sequence
   */
  run(prompts: readonly (readonly number[])[], decodeTokens: number): Promise<PeerTimes>;
  close(): Promise<void>;
}

/** Seconds since the start of the run, by the clock of the engine's own process. */
export interface PeerTimes {
  /** `[sequences]` when each first token came. */
  readonly firstTokens: readonly number[];
  /** `[sequences]` when each last token came. */
  readonly lastTokens: readonly number[];
}

export interface PeerOptions {
  /** Whole file for a peer; shape name for Kvant. */
  readonly model: string;
  /** Folder with `node_modules/node-llama-cpp`; undefined: Kvant itself. */
  readonly peerFolder: string | undefined;
  /** Kvant only. */
  readonly weights: string;
  readonly kvFormat: string;
  readonly threads: number;
  readonly contextLength: number;
  readonly sequences: number;
}
