import { KvantError } from "@kvant/core";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { GenerateEvent, GenerateRequest } from "./engine.ts";
import { EngineCore, type EngineCoreOptions } from "./engine-core.ts";
import type { RequestSink } from "./generation.ts";
import { FakeExecutable, type FakeFaults } from "./testing/fake-executable.ts";
import { greedyRequest, tokens } from "./testing/golden.ts";

const open: EngineCore[] = [];

function options(executable = new FakeExecutable()): EngineCoreOptions {
  return {
    executable,
    tokenizer: undefined,
    bounds: { vocabSize: 1000, contextLength: 512, poolTokens: 512, endOfSequenceIds: [] },
    pageTokens: 16,
    pageCounts: [33],
    maxRows: 4,
    maxStepTokens: 32,
    prefixReuse: true,
    checkInvariant: true,
  };
}

function core(faults: FakeFaults = {}, overrides: Partial<EngineCoreOptions> = {}) {
  const executable = new FakeExecutable(faults);
  const made = new EngineCore({ ...options(executable), ...overrides });
  open.push(made);
  return { core: made, executable };
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((made) => made.close()));
});

interface Outcome {
  readonly events: GenerateEvent[];
  readonly error: unknown;
}

/** Submits and resolves with all that the sink was told. */
function outcome(target: EngineCore, request: GenerateRequest, onEvent: (event: GenerateEvent) => void = () => {}) {
  return new Promise<Outcome>((resolve) => {
    const events: GenerateEvent[] = [];
    const sink: RequestSink = {
      event: (event) => {
        onEvent(event);
        events.push(event);
      },
      end: () => resolve({ events, error: undefined }),
      fail: (error) => resolve({ events, error }),
    };
    const promptIds = request.prompt.kind === "tokens" ? Int32Array.from(request.prompt.tokenIds) : new Int32Array();
    target.submit(request, promptIds, sink);
  });
}

describe("one request's failure stays its own", () => {
  test("when its sink throws", async () => {
    const { core: made } = core();
    const broken = outcome(made, { ...greedyRequest(tokens(20, 1), 30), n: 2 }, ({ type }) => {
      if (type === "delta") throw new KvantError("INVALID_ARGUMENT", "the reader broke");
    });
    const healthy = outcome(made, greedyRequest(tokens(20, 2), 30));
    expect((await broken).error).toMatchObject({ message: "the reader broke" });
    expect((await healthy).events.at(-1)).toMatchObject({ type: "done", usage: { completionTokens: 30 } });
    await made.whenIdle();
    expect(made.stats()).toMatchObject({ running: 0, waiting: 0, pages: { used: 0 } });
    expect(made.stats().generationTokens).toBeLessThan(35);
  });

  test("also when the sink throws at the end and at the failure", async () => {
    const { core: made } = core();
    const sink: RequestSink = {
      event: () => {},
      end: () => {
        throw new Error("at the end");
      },
      fail: () => {
        throw new Error("at the failure");
      },
    };
    made.submit(greedyRequest([5, 6], 3), Int32Array.of(5, 6), sink);
    expect((await outcome(made, greedyRequest([7], 9))).events.at(-1)).toMatchObject({ type: "done" });
    await made.whenIdle();
    expect(made.stats().pages.used).toBe(0);
  });
});

describe("a failing step", () => {
  const failure = new KvantError("NATIVE_FAILED", "the device is gone");

  test.each<[string, FakeFaults]>([
    ["that rejects", { atRun: (step) => (step === 4 ? Promise.reject(failure) : undefined) }],
    [
      "that is refused while another is in flight",
      {
        atSubmit: (step) => {
          if (step === 4) throw failure;
        },
      },
    ],
  ])(
    "%s ends every request with its error, waits for steps in flight, and later requests are served",
    async (_, faults) => {
      const inFlight: number[] = [];
      const { core: made, executable } = core(faults, { onFault: () => inFlight.push(executable.inFlight) });
      const outcomes = await Promise.all([
        outcome(made, greedyRequest(tokens(20, 1), 30)),
        outcome(made, { ...greedyRequest(tokens(40, 2), 30), n: 2 }),
      ]);
      for (const { error, events } of outcomes) {
        expect(error).toBe(failure);
        expect(events.filter(({ type }) => type === "done")).toEqual([]);
      }
      expect(inFlight).toEqual([0]);
      const { events } = await outcome(made, greedyRequest(tokens(20, 1), 5));
      expect(events.at(-1)).toMatchObject({ type: "done", usage: { completionTokens: 5 } });
      expect(made.stats()).toMatchObject({ running: 0, waiting: 0 });
    },
  );
});

describe("deadlines", () => {
  test("further away than a timer can count do not end a request", async () => {
    const { core: made } = core();
    const { error } = await outcome(made, { ...greedyRequest(tokens(20, 1), 30), deadlineMilliseconds: 2 ** 40 });
    expect(error).toBeUndefined();
  });

  test("already past end the request as such, and are no bad value", async () => {
    const { core: made } = core();
    const { error } = await outcome(made, { ...greedyRequest(tokens(20, 1), 400), deadlineMilliseconds: -3 });
    expect(error).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  test("leave no timer behind when the request ends, is cancelled or fails", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const { core: made } = core();
      const request = { ...greedyRequest([5, 6], 3), deadlineMilliseconds: 60_000 };
      await outcome(made, request);
      expect(vi.getTimerCount()).toBe(0);
      const sink: RequestSink = { event: () => {}, end: () => {}, fail: () => {} };
      const cancel = made.submit({ ...request, maxTokens: 400 }, Int32Array.of(5), sink);
      expect(vi.getTimerCount()).toBe(1);
      cancel();
      expect(vi.getTimerCount()).toBe(0);
      made.submit({ ...request, maxTokens: 400 }, Int32Array.of(5), sink);
      await made.close();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

test("closing while draining ends the drain", async () => {
  const { core: made } = core();
  const running = outcome(made, greedyRequest(tokens(20, 1), 400));
  const drained = made.whenIdle();
  await made.close();
  await drained;
  expect((await running).error).toMatchObject({ code: "SHUTTING_DOWN" });
});

test("prompt tokens are counted when a prompt is first computed, not when it queues", async () => {
  const { core: made } = core({}, { maxRows: 1 });
  const first = outcome(made, greedyRequest(tokens(10, 1), 50));
  const sink: RequestSink = { event: () => {}, end: () => {}, fail: () => {} };
  const cancel = made.submit(greedyRequest(tokens(30, 2), 5), Int32Array.from(tokens(30, 2)), sink);
  cancel();
  await first;
  expect(made.stats().promptTokens).toBe(10);
});

describe("a delta", () => {
  const ids = ({ events }: Outcome) => events.flatMap((event) => (event.type === "delta" ? [event.tokenIds] : []));

  test("gathers as many tokens as the stream interval says; the first and the last ones do not wait", async () => {
    const { core: every } = core();
    const { core: third } = core({}, { streamInterval: 3 });
    const request = greedyRequest(tokens(20, 1), 9);
    const [one, three] = [ids(await outcome(every, request)), ids(await outcome(third, request))];
    expect(one.map(({ length }) => length)).toEqual(Array(9).fill(1));
    expect(three.map(({ length }) => length)).toEqual([1, 3, 3, 2]);
    expect(three.flat()).toEqual(one.flat());
  });

  test("goes out with what it has gathered before an error", async () => {
    const atRun = (step: number) => {
      if (step === 6) throw new KvantError("INTERNAL", "the device is gone");
    };
    const { core: every } = core({ atRun });
    const { core: eighth } = core({ atRun }, { streamInterval: 8 });
    const request = greedyRequest(tokens(20, 1), 30);
    const [one, eight] = [await outcome(every, request), await outcome(eighth, request)];
    expect(eight.error).toMatchObject({ message: "the device is gone" });
    expect(ids(one).flat()).toHaveLength(5);
    expect(ids(eight)).toEqual([ids(one).flat().slice(0, 1), ids(one).flat().slice(1)]);
  });

  test.each([0, 2.5, Number.NaN])("cannot gather %s tokens", (streamInterval) => {
    expect(() => new EngineCore({ ...options(), streamInterval })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining(`is ${streamInterval}`) }),
    );
  });

  test("of one token goes to a sink that takes tokens, but for the last one", async () => {
    const { core: made } = core();
    const told = await new Promise<unknown[]>((resolve, reject) => {
      const seen: unknown[] = [];
      const sink: RequestSink = {
        event: (event) => seen.push(event.type),
        token: (index, tokenId, text) => seen.push([index, tokenId, text]),
        end: () => resolve(seen),
        fail: reject,
      };
      made.submit(greedyRequest(tokens(20, 1), 3), Int32Array.from(tokens(20, 1)), sink);
    });
    expect(told).toEqual([[0, 20, ""], [0, 21, ""], "delta", "finish", "done"]);
  });
});
