import { once } from "node:events";
import { Socket } from "node:net";
import { createEngine, type LocalEngine } from "@kvant/engine";
import { tinyModelPath } from "@kvant/tiny-model";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openStream } from "../testing/bare-stream.ts";
import { serve } from "../testing/serving.ts";

const outputTokens = 1000;

let engine: LocalEngine;

beforeEach(async () => {
  engine = await createEngine({ model: tinyModelPath, load: "dummy", contextLength: 1024, maxSequences: 8 });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await engine.close();
});

test("a real engine's streams to a reader that pauses take little memory, and lose no token", async () => {
  await using served = await serve(engine);
  const largest = watchWrites(Number(new URL(served.url).port));
  const sampling = { temperature: 0, ignore_eos: true, logprobs: 20 };
  const slow = openStream(served, "/v1/completions", {
    prompt: ["x", "y"],
    n: 4,
    max_tokens: outputTokens,
    stream: true,
    ...sampling,
  });
  slow.setEncoding("utf8");
  let [received] = (await once(slow, "data")) as [string];
  slow.pause();
  await engine.drain();
  // What the server holds back is bounded by the socket's mark and a chunk of each completion.
  expect(largest()).toBeLessThan(64 * 1024);
  slow.on("data", (part: string) => {
    received += part;
  });
  slow.resume();
  await once(slow, "end");
  expect(received).toContain("data: [DONE]");
  const counts = new Array(8).fill(0);
  const lines = received.split("\n").filter((line) => line.startsWith('data: {"id"'));
  for (const line of lines) {
    for (const { index, logprobs } of JSON.parse(line.slice("data: ".length)).choices) {
      counts[index] += logprobs?.tokens.length ?? 0;
    }
  }
  expect(lines.length).toBeLessThan(8 * outputTokens);
  expect(counts).toEqual(new Array(8).fill(outputTokens));
});

/** The most bytes that a socket of the server has held since. */
function watchWrites(port: number): () => number {
  let most = 0;
  const write = Socket.prototype.write;
  vi.spyOn(Socket.prototype, "write").mockImplementation(function (this: Socket, ...args: unknown[]) {
    const hasRoom = Reflect.apply(write, this, args);
    if (this.localPort === port) most = Math.max(most, this.writableLength);
    return hasRoom;
  });
  return () => most;
}
