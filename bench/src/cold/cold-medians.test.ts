import { expect, test } from "vitest";
import { coldMedians } from "./cold-medians.ts";
import type { ColdRun, StartKind } from "./cold-result.ts";

const run = (start: StartKind, ready: number, engine?: number): ColdRun => ({
  start,
  residentBytes: null,
  at: { loading: 0.1, loaded: 0.2, listening: 0.3, ready, firstToken: ready + 1, firstStep: ready + 2 },
  loadSeconds: ready / 2,
  firstTokenSeconds: 1,
  firstStepSeconds: 1,
  laterStepSeconds: 1,
  peakResidentBytes: engine === undefined ? null : { server: 5, engine },
});

test("medians are of each figure by itself, cold first", () => {
  const medians = coldMedians([
    run("warm", 1),
    run("cold", 9, 10),
    run("warm", 4),
    run("cold", 3, 30),
    run("cold", 5, 20),
  ]);
  expect(
    medians.map(({ start, runs, at, loadSeconds, peakResidentBytes }) => ({
      start,
      runs,
      ready: at.ready,
      loadSeconds,
      peakResidentBytes,
    })),
  ).toEqual([
    { start: "cold", runs: 3, ready: 5, loadSeconds: 2.5, peakResidentBytes: { server: 5, engine: 20 } },
    { start: "warm", runs: 2, ready: 2.5, loadSeconds: 1.25, peakResidentBytes: null },
  ]);
});

test("a kind without runs has no medians", () => {
  expect(coldMedians([run("warm", 1)]).map(({ start }) => start)).toEqual(["warm"]);
  expect(coldMedians([])).toEqual([]);
});
