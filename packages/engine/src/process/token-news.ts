import type { GenerateEvent } from "../engine.ts";

/**
 * What most requests have to tell after a step, one token of their only completion, as columns: 256 of these cost a tenth of
 * as many event objects on their way through the channel.
 */
export interface TokenNews {
  /** `[requests]`; ids may outgrow 32 bits. */
  readonly requestIds: Float64Array;
  /** `[requests]` */
  readonly tokenIds: Int32Array;
  /** `[requests]` */
  readonly texts: readonly string[];
}

/** Gathers the columns of one message. */
export class TokenColumns {
  #requestIds: number[] = [];
  #tokenIds: number[] = [];
  #texts: string[] = [];

  add(requestId: number, tokenId: number, text: string): void {
    this.#requestIds.push(requestId);
    this.#tokenIds.push(tokenId);
    this.#texts.push(text);
  }

  take(): TokenNews {
    const news = {
      requestIds: Float64Array.from(this.#requestIds),
      tokenIds: Int32Array.from(this.#tokenIds),
      texts: this.#texts,
    };
    this.#requestIds.length = 0;
    this.#tokenIds.length = 0;
    this.#texts = [];
    return news;
  }
}

/** The event that a row of the columns stands for. */
export function tokenEvent({ tokenIds, texts }: TokenNews, row: number): Extract<GenerateEvent, { type: "delta" }> {
  return { type: "delta", index: 0, text: texts[row]!, tokenIds: [tokenIds[row]!], logprobs: [] };
}
