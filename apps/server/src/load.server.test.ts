import { once } from "node:events";
import type { Engine } from "@kvant/engine";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openStream } from "./testing/bare-stream.ts";
import { engineCases } from "./testing/engines.ts";
import { eventData, eventually, type Served, serve } from "./testing/serving.ts";

const seed = Number(process.env.KVANT_TEST_SEED ?? Date.now() % 1_000_000);

/** Uniform in [0, 1), by a 32-bit linear congruential generator (Numerical Recipes' constants). */
function randomNumbers(from: number): () => number {
  let state = from >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function bodyOf(index: number) {
  return {
    prompt: `Chapter ${index}. ${"The night was dark and ".repeat(index % 7)}`,
    max_tokens: 8 + ((index * 7) % 40),
    temperature: 0,
    ignore_eos: true,
  };
}

async function textOf(served: Served, index: number): Promise<string> {
  const answer = await served.post("/v1/completions", { ...bodyOf(index), stream: true });
  const data = eventData(await answer.text());
  expect(data.at(-1)).toBe("[DONE]");
  return data
    .slice(0, -1)
    .map((event) => JSON.parse(event).choices[0]?.text ?? "")
    .join("");
}

describe.each(engineCases)(`64 streams at once on $name (seed ${seed})`, ({ start }) => {
  let engine: Engine;
  let served: Served;
  beforeAll(async () => {
    engine = await start();
    served = await serve(engine);
  });
  afterAll(async () => {
    await served[Symbol.asyncDispose]();
    await engine.close();
  });

  test("give the text that each gives alone, though a third of the clients leave, and hold no page afterwards", async () => {
    const random = randomNumbers(seed);
    const alone: string[] = [];
    for (let index = 0; index < 64; index++) alone.push(await textOf(served, index));
    for (let round = 0; round < 2; round++) {
      const together = await Promise.all(
        alone.map(async (_, index) => {
          if (index % 3 !== round) return textOf(served, index);
          const socket = openStream(served, "/v1/completions", { ...bodyOf(index), max_tokens: 500, stream: true });
          const partsToRead = 1 + Math.floor(random() * 12);
          for (let part = 0; part < partsToRead; part++) await once(socket, "data");
          socket.destroy();
          return undefined;
        }),
      );
      expect(together).toEqual(alone.map((text, index) => (index % 3 === round ? undefined : text)));
      await eventually("no used page", () => engine.stats().running === 0 && engine.stats().pages.used === 0);
    }
    expect((await served.get("/ready")).status).toBe(200);
  });
});
