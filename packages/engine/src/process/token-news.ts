import type { GenerateEvent } from "../engine.ts";
import type { RequestNews } from "./protocol.ts";

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

type Delta = Extract<GenerateEvent, { type: "delta" }>;

/** Splits news into columns and the rest, each in the order in which it came. */
export function packNews(news: Iterable<RequestNews>): {
  readonly tokens: TokenNews;
  readonly requests: readonly RequestNews[];
} {
  const requests: RequestNews[] = [];
  const ids: number[] = [];
  const tokenIds: number[] = [];
  const texts: string[] = [];
  for (const each of news) {
    const token = onlyToken(each);
    if (token === undefined) {
      requests.push(each);
      continue;
    }
    ids.push(each.id);
    tokenIds.push(token.tokenIds[0]!);
    texts.push(token.text);
  }
  return { tokens: { requestIds: Float64Array.from(ids), tokenIds: Int32Array.from(tokenIds), texts }, requests };
}

/** The event that a row of the columns stands for. */
export function tokenEvent({ tokenIds, texts }: TokenNews, row: number): Delta {
  return { type: "delta", index: 0, text: texts[row]!, tokenIds: [tokenIds[row]!], logprobs: [] };
}

function onlyToken({ events, outcome }: RequestNews): Delta | undefined {
  const [event] = events;
  if (outcome !== "running" || events.length !== 1 || event?.type !== "delta") return undefined;
  return event.index === 0 && event.tokenIds.length === 1 && event.logprobs.length === 0 ? event : undefined;
}
