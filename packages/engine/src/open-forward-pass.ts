import type { Tokenizer } from "@kvant/tokenizer";
import type { ModelInfo } from "./engine.ts";
import type { EngineOptions, LoadProgress } from "./engine-options.ts";
import { ForwardPass } from "./forward-pass.ts";
import { defaultPageTokens, loadEngineModel } from "./load-engine-model.ts";

/** Tokens per step of an evaluation: enough for matrix products to run near their limit, little enough logits memory. */
const defaultChunkTokens = 128;

export interface ForwardPassModel extends EngineOptions {
  /** Tokens per step; results do not depend on it. Default 128. */
  readonly chunkTokens?: number;
  /** The longest sequence that will be run, which sizes the page pool. Default: the context. */
  readonly mostTokens?: number;
}

export interface OpenForwardPass {
  readonly pass: ForwardPass;
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer | undefined;
  /** The id that begins a sequence, where the model has one. */
  readonly beginningOfSequenceId: number | undefined;
  /** Kernel variants in use, without repeats. */
  readonly variants: readonly string[];
  close(): Promise<void>;
}

/**
 * Loads a model for logits and scores instead of serving: one sequence at a time.
 * @throws what `createEngine` throws
 */
export async function openForwardPass(
  options: ForwardPassModel,
  onProgress?: (progress: LoadProgress) => void,
): Promise<OpenForwardPass> {
  const { chunkTokens = defaultChunkTokens, pageTokens = defaultPageTokens, mostTokens } = options;
  // Page 0 is reserved.
  const pages = mostTokens === undefined ? {} : { kvPages: 1 + Math.ceil(mostTokens / pageTokens) };
  const sizes = { maxSequences: 1, maxStepTokens: chunkTokens, pageTokens, swapMemoryBytes: 0, ...pages };
  const loaded = await loadEngineModel({ ...options, ...sizes }, onProgress, { maxLogitRows: chunkTokens });
  return {
    pass: new ForwardPass({ executable: loaded.executable, pageTokens, chunkTokens }),
    info: loaded.info,
    tokenizer: loaded.tokenizer,
    beginningOfSequenceId: loaded.config.bosTokenIds[0],
    variants: [...new Set(loaded.executable.variants)],
    close: () => loaded.close(),
  };
}
