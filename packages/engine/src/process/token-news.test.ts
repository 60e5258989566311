import { expect, test } from "vitest";
import type { GenerateEvent } from "../engine.ts";
import type { RequestNews } from "./protocol.ts";
import { packNews, tokenEvent } from "./token-news.ts";

const delta = (tokenId: number, text: string): Extract<GenerateEvent, { type: "delta" }> => ({
  type: "delta",
  index: 0,
  text,
  tokenIds: [tokenId],
  logprobs: [],
});
const running = (id: number, ...events: GenerateEvent[]): RequestNews => ({ id, events, outcome: "running" });

test("single tokens become columns, and come back as the events that they were", () => {
  const events = [delta(7, "a"), delta(0, ""), delta(151_000, "ü")];
  const { tokens, requests } = packNews(events.map((event, i) => running(2 ** 40 + i, event)));
  expect(requests).toEqual([]);
  expect([...tokens.requestIds]).toEqual([2 ** 40, 2 ** 40 + 1, 2 ** 40 + 2]);
  expect(events.map((_, row) => tokenEvent(tokens, row))).toEqual(events);
});

test("everything else stays as it is", () => {
  const logprob = { tokenId: 1, text: "a", bytes: [97], logprob: -1, top: [] };
  const rest: RequestNews[] = [
    running(1, delta(1, "a"), {
      type: "finish",
      index: 0,
      reason: "length",
      stopText: undefined,
      stopTokenId: undefined,
    }),
    running(2, { ...delta(1, "a"), index: 1 }),
    running(3, { ...delta(1, "a"), logprobs: [logprob] }),
    running(4, { ...delta(1, "a"), tokenIds: [1, 2] }),
    { id: 5, events: [delta(1, "a")], outcome: "end" },
    { id: 6, events: [], outcome: { code: "ENGINE_DIED", message: "it died", field: undefined } },
  ];
  const { tokens, requests } = packNews([...rest, running(7, delta(3, "b"))]);
  expect(requests).toEqual(rest);
  expect([...tokens.requestIds]).toEqual([7]);
});
