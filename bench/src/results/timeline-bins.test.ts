import { expect, test } from "vitest";
import type { LoadBins, ServerSample } from "../client/load-run.ts";
import { loadTimeline } from "./timeline-bins.ts";

const bins: LoadBins = {
  binSeconds: 0.5,
  outputTokens: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  requestsStarted: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  requestsEnded: [0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  failures: [0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
  inFlight: [1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
};

test("tokens of a bin are a rate, all other counts stay", () => {
  const { outputTokens, ...others } = bins;
  expect(loadTimeline(bins, [])).toEqual({
    ...others,
    outputTokensPerSecond: outputTokens.map((n) => 2 * n),
    server: {},
  });
});

test("a sample of the server holds until the next one, and not for ever", () => {
  const samples: ServerSample[] = [
    { at: 0.6, running: 3, kvUsage: 0.25 },
    { at: 1.7, running: 5 },
  ];
  expect(loadTimeline(bins, samples).server).toEqual({
    running: [null, 3, 3, 5, 5, 5, 5, 5, null, null],
    kvUsage: [null, 0.25, 0.25, 0.25, 0.25, 0.25, null, null, null, null],
  });
});

test("preemptions are counted where the counter grew; one that fell has restarted", () => {
  const samples: ServerSample[] = [
    { at: 0.1, preemptions: 100 },
    { at: 1.1, preemptions: 102 },
    { at: 2.1, preemptions: 102 },
    { at: 3.1, preemptions: 1 },
    { at: 9.9, preemptions: 2 },
  ];
  expect(loadTimeline(bins, samples).server.preemptions).toEqual([0, 0, 2, 0, 0, 0, 1, 0, 0, 1]);
});
