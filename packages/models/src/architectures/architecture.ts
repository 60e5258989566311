import type { ModelConfig } from "@kvant/checkpoint";

/** What tells one pre-norm decoder with SwiGLU from another. */
export interface DecoderTraits {
  /** Biases on the q, k and v projections. */
  readonly qkvBias: boolean;
  /** A bias on the attention's output projection. */
  readonly outputBias: boolean;
  /** Biases on gate, up and down. */
  readonly mlpBias: boolean;
  /** RMSNorm over each query and key head before RoPE. */
  readonly headNorm: boolean;
}

/** One row of the registry. */
export interface Architecture {
  /** The class name in `architectures` of config.json. */
  readonly name: string;
  traits(config: ModelConfig): DecoderTraits;
}
