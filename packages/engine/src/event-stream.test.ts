import { KvantError } from "@kvant/core";
import { expect, test, vi } from "vitest";
import type { GenerateEvent } from "./engine.ts";
import { EventStream } from "./event-stream.ts";

function delta(index: number, text: string, tokenId: number): GenerateEvent {
  return { type: "delta", index, text, tokenIds: [tokenId], logprobs: [] };
}

async function collect(stream: EventStream): Promise<GenerateEvent[]> {
  const events: GenerateEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

test("a slow reader finds the deltas of each completion merged", async () => {
  const stream = new EventStream(() => undefined);
  stream.push(delta(0, "a", 1));
  stream.push(delta(1, "x", 9));
  stream.push(delta(0, "b", 2));
  stream.push({ type: "finish", index: 0, reason: "stop", stopText: undefined, stopTokenId: 3 });
  stream.push(delta(1, "y", 8));
  stream.end();
  expect(await collect(stream)).toEqual([
    { type: "delta", index: 0, text: "ab", tokenIds: [1, 2], logprobs: [] },
    { type: "delta", index: 1, text: "xy", tokenIds: [9, 8], logprobs: [] },
    { type: "finish", index: 0, reason: "stop", stopText: undefined, stopTokenId: 3 },
  ]);
});

test("a waiting reader gets each event as it comes", async () => {
  const stream = new EventStream(() => undefined);
  const first = stream.next();
  stream.push(delta(0, "a", 1));
  expect((await first).value).toMatchObject({ text: "a" });
});

test("an error is thrown after the events before it", async () => {
  const stream = new EventStream(() => undefined);
  stream.push(delta(0, "a", 1));
  stream.fail(new KvantError("ENGINE_DIED", "gone"));
  expect((await stream.next()).value).toMatchObject({ text: "a" });
  await expect(stream.next()).rejects.toMatchObject({ code: "ENGINE_DIED" });
  expect((await stream.next()).done).toBe(true);
});

test("leaving the loop early tells the engine once; reading to the end does not", async () => {
  const onLeave = vi.fn();
  const stream = new EventStream(onLeave);
  stream.push(delta(0, "a", 1));
  for await (const _ of stream) break;
  await stream.return();
  expect(onLeave).toHaveBeenCalledTimes(1);

  const ended = new EventStream(onLeave);
  ended.end();
  await collect(ended);
  expect(onLeave).toHaveBeenCalledTimes(1);
});

test("readers that ask again before an answer are all answered", async () => {
  const stream = new EventStream(() => undefined);
  const asked = [stream.next(), stream.next(), stream.next()];
  stream.push(delta(0, "a", 1));
  stream.push({ type: "finish", index: 0, reason: "length", stopText: undefined, stopTokenId: undefined });
  stream.end();
  expect((await Promise.all(asked)).map(({ done }) => done)).toEqual([false, false, true]);
});
