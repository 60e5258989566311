import type { GenerateEvent } from "../engine.ts";

type Delta = Extract<GenerateEvent, { type: "delta" }>;

/**
 * What most requests have to tell after a step, a few tokens (mostly one) of their only completion, as columns: 256 of these
 * cost a tenth of as many event objects on their way through the channel.
 */
export interface TokenNews {
  /**
   * `[requests, 3]`: the request's id, which may outgrow 32 bits, and where its tokens end in `tokenIds` and its text in
   * `text`; both start where those of the request before end.
   */
  readonly rows: Float64Array;
  /** `[tokens]` */
  readonly tokenIds: Int32Array;
  /** The texts of all requests: one long string crosses the channel at a fraction of the cost of many short ones. */
  readonly text: string;
}

const rowWidth = 3;
const noLogprobs: Delta["logprobs"] = [];

/** Gathers the columns of one message. */
export class TokenColumns {
  readonly #rows: number[] = [];
  readonly #tokenIds: number[] = [];
  #text = "";

  /** A token of the row that `endRow` is going to end. */
  addToken(tokenId: number): void {
    this.#tokenIds.push(tokenId);
  }

  endRow(requestId: number, text: string): void {
    this.#text += text;
    this.#rows.push(requestId, this.#tokenIds.length, this.#text.length);
  }

  take(): TokenNews {
    const news = {
      rows: Float64Array.from(this.#rows),
      tokenIds: Int32Array.from(this.#tokenIds),
      text: this.#text,
    };
    this.#rows.length = 0;
    this.#tokenIds.length = 0;
    this.#text = "";
    return news;
  }
}

/** Hands out the events that the columns stand for, in their order. */
export function readTokenNews(
  { rows, tokenIds, text }: TokenNews,
  take: (requestId: number, event: Delta) => void,
): void {
  let [token, at] = [0, 0];
  for (let i = 0; i < rows.length; i += rowWidth) {
    const [tokenEnd, textEnd] = [rows[i + 1]!, rows[i + 2]!];
    const ids: number[] = [];
    while (token < tokenEnd) ids.push(tokenIds[token++]!);
    take(rows[i]!, { type: "delta", index: 0, text: text.slice(at, textEnd), tokenIds: ids, logprobs: noLogprobs });
    at = textEnd;
  }
}
