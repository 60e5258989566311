import type { GenerateEvent } from "../engine.ts";

/**
 * What most requests have to tell after a step, a few tokens (mostly one) of their only completion, as columns: 256 of these
 * cost a tenth of as many event objects on their way through the channel.
 */
export interface TokenNews {
  /** `[requests]`; ids may outgrow 32 bits. */
  readonly requestIds: Float64Array;
  /** `[requests]` where a request's tokens end in `tokenIds`; they start where the one before ends. */
  readonly tokenEnds: Int32Array;
  /** `[tokens]` */
  readonly tokenIds: Int32Array;
  /** `[requests]` */
  readonly texts: readonly string[];
}

/** Gathers the columns of one message. */
export class TokenColumns {
  readonly #requestIds: number[] = [];
  readonly #tokenEnds: number[] = [];
  readonly #tokenIds: number[] = [];
  #texts: string[] = [];

  /** A token of the row that `endRow` is going to end. */
  addToken(tokenId: number): void {
    this.#tokenIds.push(tokenId);
  }

  endRow(requestId: number, text: string): void {
    this.#requestIds.push(requestId);
    this.#tokenEnds.push(this.#tokenIds.length);
    this.#texts.push(text);
  }

  take(): TokenNews {
    const news = {
      requestIds: Float64Array.from(this.#requestIds),
      tokenEnds: Int32Array.from(this.#tokenEnds),
      tokenIds: Int32Array.from(this.#tokenIds),
      texts: this.#texts,
    };
    for (const list of [this.#requestIds, this.#tokenEnds, this.#tokenIds]) list.length = 0;
    this.#texts = [];
    return news;
  }
}

/** The event that a row of the columns stands for. */
export function tokenEvent(
  { tokenEnds, tokenIds, texts }: TokenNews,
  row: number,
): Extract<GenerateEvent, { type: "delta" }> {
  const ids: number[] = [];
  for (let i = row === 0 ? 0 : tokenEnds[row - 1]!; i < tokenEnds[row]!; i++) ids.push(tokenIds[i]!);
  return { type: "delta", index: 0, text: texts[row]!, tokenIds: ids, logprobs: [] };
}
