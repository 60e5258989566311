import { availableBackends } from "@kvant/kernels";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { GenerateRequest } from "./engine.ts";
import type { EngineOptions } from "./engine-options.ts";
import { createEngine, type LocalEngine } from "./local-engine.ts";
import { generateIds, goldenModel, greedyRequest, tokens } from "./testing/golden.ts";

/** KVANT_SEED repeats a run. */
const seed = Number(process.env.KVANT_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Mulberry32: small, and good enough to pick test cases. */
function randomSource(start: number): (below: number) => number {
  let state = start >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const requestCount = 28;
/** Prompts are prefixes of few texts, so that many share cached pages. */
const textCount = 4;
const longestPrompt = 75;
const longestOutput = 24;

const shapes: [string, Partial<EngineOptions>][] = [
  ["a roomy pool", {}],
  ["a tiny pool and short steps", { kvPages: 9, maxStepTokens: 11, maxSequences: 6 }],
  ["a tiny pool without prefix reuse", { kvPages: 8, maxStepTokens: 40, prefixReuse: false }],
  ["pages of 32 tokens", { kvPages: 6, pageTokens: 32, maxStepTokens: 20 }],
  ["a tiny pool and room to swap", { kvPages: 9, maxStepTokens: 11, maxSequences: 6, swapMemoryBytes: 2 ** 20 }],
  ["a tiny pool and 5 host pages", { kvPages: 8, maxStepTokens: 40, prefixReuse: false, swapMemoryBytes: 25_600 }],
];

const models = ["llama", "mistral"];
// Steps of the native backend really run beside this thread.
const hasNative = availableBackends().some(({ name, create }) => name.startsWith("cpu") && create !== undefined);
const devices = hasNative ? ["reference", "cpu"] : ["reference"];
const lone = new Map<string, LocalEngine>();

beforeAll(async () => {
  console.log(`soak test on ${devices.join(" and ")}: KVANT_SEED=${seed}`);
  for (const device of devices) {
    for (const model of models) lone.set(`${device} ${model}`, await engine(device, model, {}));
  }
});

afterAll(async () => {
  await Promise.all([...lone.values()].map((made) => made.close()));
});

function engine(device: string, model: string, options: Partial<EngineOptions>): Promise<LocalEngine> {
  const fixed = { model: goldenModel(model), device, kvFormat: "int8", checkInvariant: true };
  return createEngine({ ...fixed, ...options });
}

/** Greedy ids by prompt length: the continuation of a text's prefix, as long as any request may ask for. */
const expectations = new Map<string, Promise<number[]>>();

function expected(target: string, text: number, length: number): Promise<number[]> {
  const key = `${target} ${text} ${length}`;
  let found = expectations.get(key);
  if (found === undefined) {
    const request = greedyRequest(tokens(longestPrompt, text).slice(0, length), longestOutput);
    found = generateIds(lone.get(target)!, request).then(([ids]) => ids!);
    expectations.set(key, found);
  }
  return found;
}

let recomputes = 0;
let swaps = 0;

const cases = devices.flatMap((device) =>
  models.flatMap((model) => shapes.map(([name, options]) => [device, model, name, options] as const)),
);

test.each(cases)(
  "%s, %s, %s: random arrivals, priorities, completions and departures leave every output as it is alone",
  async (device, model, _, options) => {
    const random = randomSource(seed);
    const made = await engine(device, model, options);
    let cancelled = 0;

    async function one(): Promise<void> {
      const text = random(textCount);
      // Few lengths, so that lone runs are shared.
      const length = 1 + 23 * random(4) + (random(2) === 0 ? 0 : 5);
      const maxTokens = 1 + random(longestOutput);
      const n = random(4) === 0 ? 1 + random(3) : 1;
      const leavesAfter = random(3) === 0 ? random(maxTokens) : undefined;
      const request: GenerateRequest = {
        ...greedyRequest(tokens(longestPrompt, text).slice(0, length), maxTokens),
        n,
        priority: random(3),
        ...(random(6) === 0 ? { cacheSalt: "tenant" } : {}),
      };
      for (let turns = random(30); turns > 0; turns--) await new Promise(setImmediate);
      const controller = new AbortController();
      const ids: number[][] = Array.from({ length: n }, () => []);
      const finished: number[] = [];
      let isDone = false;
      if (leavesAfter === 0) setImmediate(() => controller.abort());
      try {
        for await (const event of made.generate(request, controller.signal)) {
          expect(isDone).toBe(false);
          if (event.type === "done") {
            isDone = true;
            expect(event.usage).toMatchObject({ promptTokens: length, completionTokens: n * maxTokens });
          } else if (event.type === "finish") finished.push(event.index);
          else {
            expect(finished).not.toContain(event.index);
            ids[event.index]!.push(...event.tokenIds);
          }
          if (leavesAfter !== undefined && ids[0]!.length >= leavesAfter) {
            if (leavesAfter % 2 === 0) controller.abort();
            else break;
          }
        }
      } catch (error) {
        if (!controller.signal.aborted) throw error;
      }
      const whole = await expected(`${device} ${model}`, text, length);
      if (!isDone) cancelled++;
      else expect(finished.sort()).toEqual(Array.from({ length: n }, (_, i) => i));
      for (const one of ids) expect(one).toEqual(whole.slice(0, isDone ? maxTokens : one.length));
    }

    await Promise.all(Array.from({ length: requestCount }, one));
    await made.drain();
    expect(made.stats()).toMatchObject({ running: 0, waiting: 0, pages: { used: 0 }, hostPages: { used: 0 } });
    expect(cancelled).toBeGreaterThan(0);
    recomputes += made.stats().preemptions.recompute;
    swaps += made.stats().preemptions.swap;
    await made.close();
  },
  30_000,
);

test("the runs above ran out of pages, with and without room in host memory", () => {
  // One run alone may be lucky in its arrivals.
  expect(recomputes).toBeGreaterThan(0);
  expect(swaps).toBeGreaterThan(0);
});
