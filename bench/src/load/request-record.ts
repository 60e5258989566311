/**
 * Why a request failed: the connection was refused or broke, a status other than 200, an error event inside the stream, a
 * stream that ended without its end mark, one that could not be read, or the load's own deadline.
 */
export type FailureKind = "connect" | "status" | "stream-error" | "cut-off" | "protocol" | "deadline" | "cancelled";

/** Who counted the answer's tokens: the server's usage, the tokenizer over the text, or the chunks where neither is there. */
export type TokenCounter = "usage" | "tokenizer" | "chunks";

/** What a client saw of one request. Seconds after the start of the load, by one monotonic clock. */
export interface RequestRecord {
  readonly index: number;
  /** When it should have been sent; latencies count from here in an open loop (no coordinated omission). */
  readonly dueAt: number;
  readonly sentAt: number;
  /** When the first chunk with text or tokens came; absent where none did. */
  readonly firstTokenAt?: number;
  /** When the last chunk with text or tokens came. */
  readonly lastTokenAt?: number;
  /** When the stream ended, well or not. */
  readonly endedAt: number;
  /** Tokens in: by the server's usage, or as planned. */
  readonly promptTokens?: number;
  /** Tokens of the prompt that the server had cached, where its usage tells. */
  readonly cachedTokens?: number;
  readonly outputTokens: number;
  readonly countedBy: TokenCounter;
  /** [chunks with text or tokens - 1] seconds between them; a chunk of k tokens is one gap. */
  readonly gaps: Float32Array;
  /** [gaps] tokens of the chunk that ended each gap, where the server tells them chunk by chunk. */
  readonly gapTokens?: Uint16Array;
  /** In the server's queue, where its answer tells. */
  readonly queueSeconds?: number;
  readonly finishReason?: string;
  readonly failure?: { readonly kind: FailureKind; readonly message: string; readonly status?: number };
}
