import { tinyModelPath } from "@kvant/tiny-model";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { GenerateEvent } from "./engine.ts";
import type { EngineOptions } from "./engine-options.ts";
import { loadEngineModel } from "./load-engine-model.ts";
import { createEngine, type LocalEngine } from "./local-engine.ts";
import { machineMemory } from "./machine-memory.ts";
import { generateIds, goldenModel, greedyRequest, tokens } from "./testing/golden.ts";

// The reference backend on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const open: LocalEngine[] = [];

async function engine(options: Partial<EngineOptions> = {}): Promise<LocalEngine> {
  const made = await createEngine({
    model: goldenModel("llama"),
    device: "reference",
    kvFormat: "int8",
    checkInvariant: true,
    ...options,
  });
  open.push(made);
  return made;
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((made) => made.close()));
});

/** Waits for steps in flight, then asserts that nothing is held. */
async function expectFree(made: LocalEngine): Promise<void> {
  await made.drain();
  expect(made.stats()).toMatchObject({ running: 0, waiting: 0, pages: { used: 0 }, hostPages: { used: 0 } });
}

test("random weights serve a longer context than the configuration's, a checkpoint does not", async () => {
  const made = await engine({ load: "dummy", contextLength: 600, kvPages: 60 });
  expect(made.model.contextLength).toBe(600);
  expect((await generateIds(made, greedyRequest(tokens(590, 1), 4)))[0]).toHaveLength(4);
  await expect(engine({ contextLength: 600 })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    field: "contextLength",
  });
});

test("an executable is warmed up where that is asked for, and closed where it fails", async () => {
  const options = { model: goldenModel("llama"), device: "cpu" };
  const loaded = await loadEngineModel(options);
  const prototype: { warmUp(): void; close(): Promise<void> } = Object.getPrototypeOf(loaded.executable);
  await loaded.close();
  const [warmUp, close] = [vi.spyOn(prototype, "warmUp"), vi.spyOn(prototype, "close")];
  try {
    await engine({ ...options, warmUp: false });
    expect(warmUp).not.toHaveBeenCalled();
    const made = await engine({ ...options, warmUp: true });
    expect(warmUp).toHaveBeenCalledTimes(1);
    expect((await generateIds(made, greedyRequest(tokens(5, 1), 4)))[0]).toHaveLength(4);
    warmUp.mockImplementationOnce(() => {
      throw new Error("no memory for graphs");
    });
    expect(close).not.toHaveBeenCalled();
    await expect(engine({ ...options, warmUp: true })).rejects.toThrow("no memory for graphs");
    expect(close).toHaveBeenCalledTimes(1);
  } finally {
    warmUp.mockRestore();
    close.mockRestore();
  }
});

test("each step but the first tells how long the device waited for it, where the backend measures", async () => {
  const gaps = async (device: string) => {
    const made = await engine({ device, model: tinyModelPath });
    const seen: (number | undefined)[] = [];
    made.observe({ step: ({ gapSeconds }) => seen.push(gapSeconds) });
    await generateIds(made, greedyRequest(tokens(5, 1), 4));
    return seen;
  };
  const [first, ...later] = await gaps("cpu");
  expect(first).toBeUndefined();
  expect(later.length).toBeGreaterThan(2);
  for (const gap of later) expect(gap).toBeGreaterThanOrEqual(0);
  expect(new Set(await gaps("reference"))).toEqual(new Set([undefined]));
});

describe("a request among others gives the tokens it gives alone", () => {
  const lengths = [3, 17, 40, 33, 64, 5];

  test.each([
    ["with room for all", {}],
    ["with chunked prefill", { maxStepTokens: 7 }],
    ["with preemption", { kvPages: 14, maxStepTokens: 16 }],
    ["with preemption by swap", { kvPages: 14, maxStepTokens: 16, swapMemoryBytes: 2 ** 20 }],
    ["with few row slots", { maxSequences: 2 }],
    ["without prefix reuse", { prefixReuse: false, kvPages: 14 }],
    ["with a sliding window", { model: goldenModel("mistral"), kvPages: 14, maxStepTokens: 16 }],
    [
      "with a sliding window and swap",
      { model: goldenModel("mistral"), kvPages: 14, maxStepTokens: 16, prefixReuse: false, swapMemoryBytes: 2 ** 20 },
    ],
  ])("%s", async (_, options: Partial<EngineOptions>) => {
    const alone = await engine({ ...options, kvPages: 200, maxStepTokens: 256 });
    const expected: number[][] = [];
    for (const [i, length] of lengths.entries()) {
      expected.push((await generateIds(alone, greedyRequest(tokens(length, i), 24)))[0]!);
    }
    const crowd = await engine(options);
    const actual = await Promise.all(
      lengths.map(async (length, i) => (await generateIds(crowd, greedyRequest(tokens(length, i), 24)))[0]!),
    );
    expect(actual).toEqual(expected);
    const { recompute, swap } = crowd.stats().preemptions;
    if ("swapMemoryBytes" in options) expect({ recompute, swaps: swap > 0 }).toEqual({ recompute: 0, swaps: true });
    else if ("kvPages" in options) expect({ recomputes: recompute > 0, swap }).toEqual({ recomputes: true, swap: 0 });
    await expectFree(crowd);
  });

  test("when its prefix is found in the cache", async () => {
    const made = await engine();
    const request = greedyRequest(tokens(50, 1), 16);
    const first = await generateIds(made, request);
    const hitsBefore = made.stats().prefixHitTokens;
    expect(await generateIds(made, request)).toEqual(first);
    expect(made.stats().prefixHitTokens - hitsBefore).toBe(48);
    await expectFree(made);
  });

  test("and a different salt finds no prefix", async () => {
    const made = await engine();
    const request = greedyRequest(tokens(50, 1), 4);
    await generateIds(made, { ...request, cacheSalt: "a" });
    await generateIds(made, { ...request, cacheSalt: "b" });
    expect(made.stats().prefixHitTokens).toBe(0);
  });
});

test("the model's report names the memory of the machine where the device has none of its own", async () => {
  expect((await engine()).model.deviceMemoryBytes).toBe(machineMemory());
});

test("the model's report names the host memory that whole pages of the asked size take", async () => {
  const { model } = await engine({ swapMemoryBytes: 10_000 });
  const pageBytes = (model.kvBytes.codes + model.kvBytes.scales) / (model.pageCount + 1);
  expect(model.swapBytes).toBe(Math.floor(10_000 / pageBytes) * pageBytes);
  expect((await engine()).model.swapBytes).toBe(0);
});

describe("several completions of one prompt", () => {
  test.each([
    ["recompute", 0],
    ["swap", 2 ** 20],
  ] as const)("are equal when greedy, also when pages run out and come back by %s", async (kind, swapMemoryBytes) => {
    const made = await engine({ kvPages: 10, maxStepTokens: 16, swapMemoryBytes });
    const [alone] = await generateIds(await engine(), greedyRequest(tokens(37, 2), 60));
    await generateIds(made, greedyRequest(tokens(37, 2), 1)); // the prefix is cached, and chunks are shorter than the rest
    const ids = await generateIds(made, { ...greedyRequest(tokens(37, 2), 60), n: 4 });
    expect(ids).toEqual([alone, alone, alone, alone]);
    expect(made.stats().preemptions[kind]).toBeGreaterThan(0);
    expect(made.stats().prefixHitTokens).toBeGreaterThan(0);
    await expectFree(made);
  });

  test("differ when sampled, and repeat with the seed", async () => {
    const made = await engine();
    const request = { ...greedyRequest(tokens(10, 3), 12), temperature: 1.5, n: 3, seed: 42 };
    const first = await generateIds(made, request);
    expect(new Set(first.map(String)).size).toBe(3);
    expect(await generateIds(made, request)).toEqual(first);
  });

  test.each([
    ["recompute", 0],
    ["swap", 2 ** 20],
  ] as const)("are sampled alike whether pages run out or not, with %s", async (kind, swapMemoryBytes) => {
    const request = {
      ...greedyRequest(tokens(30, 4), 30),
      temperature: 1,
      n: 3,
      seed: 7,
      repetitionPenalty: 1.2,
      frequencyPenalty: 0.5,
    };
    const roomy = await generateIds(await engine(), request);
    const tight = await engine({ kvPages: 8, maxStepTokens: 8, swapMemoryBytes });
    expect(await generateIds(tight, request)).toEqual(roomy);
    expect(tight.stats().preemptions[kind]).toBeGreaterThan(0);
  });
});

describe("ending early", () => {
  test("an aborted request frees its pages and says CANCELLED", async () => {
    const made = await engine();
    const controller = new AbortController();
    const events: GenerateEvent[] = [];
    const reading = (async () => {
      for await (const event of made.generate(greedyRequest(tokens(20, 5), 400), controller.signal)) {
        events.push(event);
        if (events.length === 3) controller.abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: "CANCELLED" });
    await expectFree(made);
    expect(made.stats().generationTokens).toBeLessThan(20);
  });

  test("a request that is aborted while it is swapped out frees its host pages", async () => {
    const made = await engine({ kvPages: 8, swapMemoryBytes: 2 ** 20 });
    const controllers = [new AbortController(), new AbortController()];
    const requests = controllers.map(({ signal }, i) => generateIds(made, greedyRequest(tokens(40, i), 70), signal));
    const ends = Promise.allSettled(requests);
    while (made.stats().hostPages.used === 0) await new Promise(setImmediate);
    expect(made.stats()).toMatchObject({ running: 1, waiting: 1 });
    controllers[1]!.abort();
    await expect(requests[1]).rejects.toMatchObject({ code: "CANCELLED" });
    expect(made.stats()).toMatchObject({ running: 1, waiting: 0, hostPages: { used: 0 } });
    const [first] = await ends;
    expect(first).toMatchObject({ status: "fulfilled" });
    await expectFree(made);
  });

  test("leaving the loop frees its pages", async () => {
    const made = await engine();
    for await (const _ of made.generate(greedyRequest(tokens(20, 5), 400))) break;
    await expectFree(made);
  });

  test("a deadline ends a request with what it is", async () => {
    const made = await engine();
    const request = { ...greedyRequest(tokens(20, 5), 490), deadlineMilliseconds: 5 };
    await expect(generateIds(made, request)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await expectFree(made);
  });

  test("closing the engine ends running requests with SHUTTING_DOWN", async () => {
    const made = await engine();
    const running = generateIds(made, greedyRequest(tokens(20, 5), 400));
    await Promise.all([expect(running).rejects.toMatchObject({ code: "SHUTTING_DOWN" }), made.close()]);
    await expect(generateIds(made, greedyRequest([5], 1))).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  });
});

describe("refused requests leave nothing behind", () => {
  test.each([
    ["an id past the vocabulary", { tokenIds: [320] }, "TOKEN_OUT_OF_RANGE"],
    ["no tokens", { tokenIds: [] }, "REQUEST_INVALID"],
    ["a prompt of the whole context", { tokenIds: new Array(512).fill(5) }, "CONTEXT_EXCEEDED"],
    ["more tokens than the pool holds", { tokenIds: [5], maxTokens: 400 }, "KV_TOO_SMALL"],
    ["a fractional id", { tokenIds: [1.5] }, "TOKEN_OUT_OF_RANGE"],
  ])("%s", async (_, { tokenIds, maxTokens = 4 }: { tokenIds: number[]; maxTokens?: number }, code) => {
    const made = await engine({ kvPages: 8 });
    await expect(generateIds(made, greedyRequest(tokenIds, maxTokens))).rejects.toMatchObject({ code });
    await expectFree(made);
  });

  test("text for a model without a tokenizer", async () => {
    const made = await engine();
    await expect(generateIds(made, { prompt: { kind: "text", text: "hello" } })).rejects.toMatchObject({
      code: "TOKENIZER_ABSENT",
    });
  });
});

describe("text", () => {
  const request = { prompt: { kind: "text", text: "It was a bright morning, and" }, temperature: 0 } as const;

  async function text(
    made: LocalEngine,
    extra: object,
  ): Promise<{ text: string; ids: number[]; last: GenerateEvent[] }> {
    let result = "";
    const ids: number[] = [];
    const last: GenerateEvent[] = [];
    for await (const event of made.generate({ ...request, ...extra })) {
      if (event.type !== "delta") last.push(event);
      else {
        result += event.text;
        ids.push(...event.tokenIds);
      }
    }
    return { text: result, ids, last };
  }

  test("is the decoded ids, ends with length, and reports usage", async () => {
    const made = await engine({ model: tinyModelPath });
    const { text: whole, ids, last } = await text(made, { maxTokens: 12 });
    expect(whole).toBe(await made.detokenize(ids));
    expect(last[0]).toMatchObject({ type: "finish", reason: "length" });
    expect(last[1]).toMatchObject({ type: "done", usage: { completionTokens: 12, cachedTokens: 0 } });
  });

  test("ends before a stop string, whose tokens are counted", async () => {
    const made = await engine({ model: tinyModelPath });
    const { text: whole } = await text(made, { maxTokens: 12 });
    const stop = whole.slice(9, 14);
    const { text: cut, last } = await text(made, { maxTokens: 12, stop: [stop] });
    expect(cut).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(last[0]).toMatchObject({ type: "finish", reason: "stop", stopText: stop });
  });

  test("carries log-probabilities of each token and its rivals", async () => {
    const made = await engine({ model: tinyModelPath });
    for await (const event of made.generate({ ...request, maxTokens: 3, logprobs: 2 })) {
      if (event.type !== "delta") continue;
      for (const { tokenId, logprob, top } of event.logprobs) {
        expect(top).toHaveLength(2);
        expect(top[0]!.tokenId).toBe(tokenId);
        expect(top[0]!.logprob).toBeCloseTo(logprob, 5);
        expect(top[1]!.logprob).toBeLessThanOrEqual(logprob);
      }
    }
  });
});
