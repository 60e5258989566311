import type { EngineStats } from "@kvant/engine";
import { describe, expect, test } from "vitest";
import { FakeEngine } from "../testing/fake-engine.ts";
import { MonotonicCounters } from "./monotonic-counters.ts";

const zero = new FakeEngine().stats();
const stats = (counts: Partial<EngineStats>): EngineStats => ({ ...zero, ...counts });

describe("MonotonicCounters", () => {
  test("passes on what one process counts", () => {
    const counters = new MonotonicCounters();
    expect(counters.update(stats({ generationTokens: 5 })).generationTokens).toBe(5);
    expect(counters.update(stats({ generationTokens: 9 })).generationTokens).toBe(9);
    expect(counters.update(stats({ generationTokens: 9 })).generationTokens).toBe(9);
  });

  test("adds up over restarts, also when the new process has counted further than the old", () => {
    const counters = new MonotonicCounters();
    counters.update(stats({ generationTokens: 5, promptTokens: 3, preemptions: { recompute: 1, swap: 2 } }));
    const second = counters.update(stats({ generationTokens: 8, restarts: 1 }));
    expect(second).toMatchObject({ generationTokens: 13, promptTokens: 3, recomputes: 1, swaps: 2 });
    const third = counters.update(stats({ generationTokens: 1, restarts: 2 }));
    expect(third).toMatchObject({ generationTokens: 14, promptTokens: 3 });
  });

  test("takes a falling count for a restart that was not reported", () => {
    const counters = new MonotonicCounters();
    counters.update(stats({ generationTokens: 5 }));
    expect(counters.update(stats({ generationTokens: 2 })).generationTokens).toBe(7);
  });

  test("starts from what the first scrape finds after earlier restarts", () => {
    const counters = new MonotonicCounters();
    expect(counters.update(stats({ generationTokens: 2, restarts: 3 })).generationTokens).toBe(2);
    expect(counters.update(stats({ generationTokens: 4, restarts: 3 })).generationTokens).toBe(4);
  });
});
