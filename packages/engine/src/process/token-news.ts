import type { GenerateEvent } from "../engine.ts";
import { NumberList } from "../number-list.ts";

type Delta = Extract<GenerateEvent, { type: "delta" }>;

/**
 * What most requests have to tell after a step, a few tokens (mostly one) of their only completion, as columns: 256 of these
 * cost a tenth of as many event objects on their way through the channel.
 */
export interface TokenNews {
  /**
   * `[requests, 4]`: the request's id, which may outgrow 32 bits, and where its tokens end in `tokenIds` and its text in
   * `text` and in `wideText`; they start where those of the request before end.
   */
  readonly rows: Float64Array;
  /** `[tokens]` */
  readonly tokenIds: Int32Array;
  /** One long string crosses the channel at a fraction of the cost of many short ones. */
  readonly text: string;
  /**
   * Texts with characters beyond Latin-1. In one string with the others they would make two bytes of every character, there
   * and in all that is made of it.
   */
  readonly wideText: string;
}

const rowWidth = 4;
const noLogprobs: Delta["logprobs"] = [];

/** Gathers the columns of one message after the other. */
export class TokenColumns {
  readonly #rows = new NumberList(Float64Array, 64 * rowWidth);
  readonly #tokenIds = new NumberList(Int32Array, 64);
  #text = "";
  #wideText = "";

  /** A token of the row that `endRow` is going to end. */
  addToken(tokenId: number): void {
    this.#tokenIds.push(tokenId);
  }

  endRow(requestId: number, text: string): void {
    if (isLatin1(text)) this.#text += text;
    else this.#wideText += text;
    this.#rows.push(requestId);
    this.#rows.push(this.#tokenIds.length);
    this.#rows.push(this.#text.length);
    this.#rows.push(this.#wideText.length);
  }

  get isEmpty(): boolean {
    return this.#rows.length === 0;
  }

  take(): TokenNews {
    const news = {
      rows: this.#rows.view().slice(),
      tokenIds: this.#tokenIds.view().slice(),
      text: this.#text,
      wideText: this.#wideText,
    };
    this.#rows.length = 0;
    this.#tokenIds.length = 0;
    this.#text = "";
    this.#wideText = "";
    return news;
  }
}

/** Hands out the events that the columns stand for, in their order. */
export function readTokenNews(news: TokenNews, take: (requestId: number, event: Delta) => void): void {
  const { rows, tokenIds } = news;
  let [token, at, wideAt] = [0, 0, 0];
  for (let i = 0; i < rows.length; i += rowWidth) {
    const [tokenEnd, textEnd, wideEnd] = [rows[i + 1]!, rows[i + 2]!, rows[i + 3]!];
    const ids: number[] = [];
    while (token < tokenEnd) ids.push(tokenIds[token++]!);
    const text = wideEnd === wideAt ? news.text.slice(at, textEnd) : news.wideText.slice(wideAt, wideEnd);
    [at, wideAt] = [textEnd, wideEnd];
    take(rows[i]!, { type: "delta", index: 0, text, tokenIds: ids, logprobs: noLogprobs });
  }
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}
