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

test("a taker gets each event in the turn in which it comes", async () => {
  const stream = new EventStream(() => undefined);
  const taken: GenerateEvent[] = [];
  stream.push(delta(0, "a", 1));
  const over = stream.handTo({
    take: (event) => {
      taken.push(event);
      return undefined;
    },
  });
  stream.push(delta(0, "b", 2));
  expect(taken).toEqual([delta(0, "a", 1), delta(0, "b", 2)]);
  stream.end();
  await over;
});

test("a taker that is behind finds deltas merged, and the end after them", async () => {
  const stream = new EventStream(() => undefined);
  const texts: string[] = [];
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const over = stream.handTo({
    take: (event) => {
      texts.push(event.type === "delta" ? event.text : event.type);
      return texts.length === 1 ? gate : undefined;
    },
  });
  for (const text of ["a", "b", "c"]) stream.push(delta(0, text, 1));
  stream.end();
  expect(texts).toEqual(["a"]);
  open();
  await over;
  expect(texts).toEqual(["a", "bc"]);
});

test("what a taker pushes while it takes comes after what it takes", async () => {
  const stream = new EventStream(() => undefined);
  const texts: string[] = [];
  const over = stream.handTo({
    take: (event) => {
      const text = event.type === "delta" ? event.text : event.type;
      if (text === "a") stream.push(delta(0, "b", 2));
      texts.push(text);
      return undefined;
    },
  });
  stream.push(delta(0, "a", 1));
  stream.end();
  await over;
  expect(texts).toEqual(["a", "b"]);
});

test.each([
  [
    "throws",
    () => {
      throw new Error("no more");
    },
  ],
  ["rejects", () => Promise.reject(new Error("no more"))],
])("a taker that %s leaves the request once and gets nothing more", async (_, refuse) => {
  const onLeave = vi.fn();
  const take = vi.fn(refuse);
  const stream = new EventStream(onLeave);
  const over = stream.handTo({ take });
  stream.push(delta(0, "a", 1));
  stream.push(delta(0, "b", 2));
  await expect(over).rejects.toThrow("no more");
  stream.push(delta(0, "c", 3));
  stream.end();
  expect(take).toHaveBeenCalledTimes(1);
  expect(onLeave).toHaveBeenCalledTimes(1);
});

test("a request that fails tells its taker after the events before", async () => {
  const stream = new EventStream(() => undefined);
  const taken: GenerateEvent[] = [];
  stream.push(delta(0, "a", 1));
  stream.fail(new KvantError("ENGINE_DIED", "gone"));
  const over = stream.handTo({
    take: (event) => {
      taken.push(event);
      return undefined;
    },
  });
  await expect(over).rejects.toMatchObject({ code: "ENGINE_DIED" });
  expect(taken).toEqual([delta(0, "a", 1)]);
});
