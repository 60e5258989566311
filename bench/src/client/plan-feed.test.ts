import { expect, test } from "vitest";
import type { PlannedRequest } from "../load/planned-request.ts";
import type { LoadTarget } from "./load-target.ts";
import { PlanFeed, type PlanFeedOptions } from "./plan-feed.ts";

const chat: LoadTarget = { url: "http://h", dialect: "openai-chat", model: "m" };
const text = { kind: "text", text: "q" } as const;

function request(index: number, more: Partial<PlannedRequest> = {}): PlannedRequest {
  return { index, prompt: text, maxTokens: 1, isFixedLength: false, ...more };
}

function turn(index: number, conversation: number, number: number): PlannedRequest {
  return request(index, { turn: { conversation, number, thinkSeconds: 0 } });
}

function feed(requests: readonly PlannedRequest[], options: Partial<PlanFeedOptions> = {}): PlanFeed {
  const workload = { description: "", size: requests.length, requests: () => requests.values() };
  return new PlanFeed({ target: chat, workload, isClosed: true, requestLimit: Number.POSITIVE_INFINITY, ...options });
}

function indexes(plan: PlanFeed): number[][] {
  const dialogues: number[][] = [];
  for (let dialogue = plan.take(); dialogue !== undefined; dialogue = plan.take()) {
    dialogues.push(dialogue.map(({ index }) => index));
  }
  return dialogues;
}

test("turns of a conversation stay together, single requests stand alone", () => {
  const plan = feed([request(0), turn(1, 0, 0), turn(2, 0, 1), turn(3, 1, 0), request(4), request(5)]);
  expect(indexes(plan)).toEqual([[0], [1, 2], [3], [4], [5]]);
  expect(plan.next).toBeUndefined();
});

test("a limit of requests counts turns, and may end a conversation early", () => {
  const requests = [turn(0, 0, 0), turn(1, 0, 1), turn(2, 0, 2), request(3)];
  expect(indexes(feed(requests, { requestLimit: 2 }))).toEqual([[0, 1]]);
});

test("an endless plan is drawn no further than it is taken", () => {
  let drawn = 0;
  function* endless(): Generator<PlannedRequest, void> {
    for (;;) yield request(drawn++);
  }
  const plan = feed([], { workload: { description: "", size: undefined, requests: endless } });
  for (let i = 0; i < 10; i++) plan.take();
  expect(drawn).toBeLessThanOrEqual(12);
});

test.each<[string, readonly PlannedRequest[], Partial<PlanFeedOptions>]>([
  ["a due time in a closed loop", [request(0, { dueSeconds: 1 })], {}],
  ["no due time in an open one", [request(0)], { isClosed: false }],
  ["a turn without the one before it", [turn(0, 0, 1)], {}],
  ["token ids in a chat", [request(0, { prompt: { kind: "tokens", tokenIds: [1] } })], {}],
  [
    "messages for completions",
    [request(0, { prompt: { kind: "chat", messages: [] } })],
    { target: { ...chat, dialect: "openai-completions" } },
  ],
])("%s is refused with the request's number", (_, requests, options) => {
  expect(() => feed(requests, options)).toThrow(
    expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining("request 0 ") }),
  );
});
