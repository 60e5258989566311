import { expect, test } from "vitest";
import type { RequestRecord } from "../load/request-record.ts";
import { keepsObjectives, parseObjectives } from "./objectives.ts";

test("objectives are durations by name, in any unit", () => {
  expect(parseObjectives("ttft=500ms, itl=50ms,tpot=800us,e2e=20")).toEqual({
    ...{ ttft: 0.5, itl: 0.05, tpot: 0.0008, e2e: 20 },
  });
  expect(parseObjectives("e2e=1.5s")).toEqual({ e2e: 1.5 });
});

test.each([
  "",
  "ttft",
  "ttft=",
  "ttft=-1s",
  "ttft=0",
  "ttft=1m",
  "ttft=1.2.3s",
  "latency=1s",
  "toString=1s",
  "ttft=1s,",
])('what is no objective is refused and quoted: "%s"', (text) => {
  expect(() => parseObjectives(text)).toThrow(/--slo: ".*" is not one of ttft, itl, tpot, e2e with a duration/);
});

test("an objective given twice is refused", () => {
  expect(() => parseObjectives("itl=1s,itl=2s")).toThrow("--slo: itl is given twice");
});

/** Due at 1, first token after 0.5 s, then a token every 0.1 s; ends 2 s after it was due. */
function record(changes: Partial<RequestRecord> = {}): RequestRecord {
  return {
    ...{ index: 0, dueAt: 1, sentAt: 1.1, firstTokenAt: 1.5, lastTokenAt: 2.5, endedAt: 3 },
    ...{ outputTokens: 11, countedBy: "usage", gaps: new Float32Array(10).fill(0.1) },
    ...changes,
  };
}

test("latencies count from when a request was due", () => {
  expect(keepsObjectives(record(), { ttft: 0.51 })).toBe(true);
  expect(keepsObjectives(record(), { ttft: 0.49 })).toBe(false);
  expect(keepsObjectives(record(), { e2e: 2.01 })).toBe(true);
  expect(keepsObjectives(record(), { e2e: 1.99 })).toBe(false);
  expect(keepsObjectives(record(), { tpot: 0.101 })).toBe(true);
  expect(keepsObjectives(record(), { tpot: 0.099 })).toBe(false);
  expect(keepsObjectives(record(), {})).toBe(true);
});

test("every objective must hold", () => {
  expect(keepsObjectives(record(), { ttft: 1, itl: 1, tpot: 1, e2e: 3 })).toBe(true);
  expect(keepsObjectives(record(), { ttft: 1, itl: 1, tpot: 1, e2e: 1 })).toBe(false);
});

test("one late pause breaks itl below a hundred pauses, and not among a hundred", () => {
  const gaps = (count: number, late: number): Float32Array =>
    Float32Array.from({ length: count }, (_, i) => (i < late ? 2 : 0.1));
  const kept = (count: number, late: number): boolean =>
    keepsObjectives(record({ gaps: gaps(count, late), outputTokens: count + 1 }), { itl: 0.5 });
  expect([kept(99, 0), kept(99, 1), kept(100, 1), kept(100, 2)]).toEqual([true, false, true, false]);
});

test("the gap before a chunk of several tokens is shared by them", () => {
  expect(keepsObjectives(record({ outputTokens: 44 }), { itl: 0.03 })).toBe(true);
  expect(keepsObjectives(record({ outputTokens: 44 }), { itl: 0.02 })).toBe(false);
});

test("where the server told which chunk held how many tokens, a chunk counts as often", () => {
  // A pause of 0.1 s for each of 300 tokens, and one chunk of 6 with a gap of 3 s: six of 306 pauses take 0.5 s.
  const gaps = new Float32Array(301).fill(0.1);
  const gapTokens = new Uint16Array(301).fill(1);
  [gaps[7], gapTokens[7]] = [3, 6];
  const many = record({ gaps, gapTokens, outputTokens: 307 });
  expect(keepsObjectives(many, { itl: 0.4 })).toBe(false);
  expect(keepsObjectives(many, { itl: 0.6 })).toBe(true);
});

test("a request that failed, or brought nothing, is never good; one token alone can be", () => {
  expect(keepsObjectives(record({ failure: { kind: "cut-off", message: "it ended early" } }), {})).toBe(false);
  const { firstTokenAt: _, lastTokenAt: __, ...silent } = record({ outputTokens: 0, gaps: new Float32Array() });
  expect(keepsObjectives(silent, {})).toBe(false);
  const single = record({ outputTokens: 1, lastTokenAt: 1.5, gaps: new Float32Array() });
  expect(keepsObjectives(single, { tpot: 1e-9, itl: 1e-9 })).toBe(true);
});
