import type { LiveLoad } from "@kvant/bench";
import { expect, test } from "vitest";
import { addRate, liveLoadText, plainLine, plainView } from "./live-load-view.ts";

const live: LiveLoad = {
  seconds: 12.4,
  isWarmUp: false,
  isDraining: false,
  sent: 44,
  inFlight: 4,
  completed: 38,
  failed: 2,
  outputTokens: 5120,
  outputTokensPerSecond: 1234.5,
  timeToFirstToken: { p50: 0.0379, p99: 0.0864 },
  interToken: { p50: 0.00831, p99: 0.017 },
  server: { at: 12, running: 4, waiting: 7, kvUsage: 0.123, preemptions: 0 },
};

test("the view of a running load", () => {
  const rates = Array.from({ length: 16 }, (_, i) => 100 * Math.floor(i / 4));
  const text = liveLoadText(live, { name: "4 streams", place: "2 of 4", requests: 100, durationSeconds: 24.8 }, rates);
  expect(text).toBe(
    [
      "4 streams (2 of 4)  ███████████████░░░░░░░░░░░░░░░  12 of 24 s, 40 of 100 requests",
      "4 in flight   38 completed   2 failed",
      "1,234 tok/s  ▁▃▆█",
      "first token p50 37.9 p99 86.4 ms   between tokens p50 8.31 p99 17.0 ms",
      "server: 4 running, 7 waiting, KV cache 12 %",
    ].join("\n"),
  );
});

test("before the first token, and without metrics, the view is shorter", () => {
  const { timeToFirstToken: _, interToken: __, server: ___, ...early } = live;
  const text = liveLoadText({ ...early, outputTokensPerSecond: 0, isWarmUp: true }, { name: "1 stream" }, [0]);
  expect(text.split("\n")).toEqual([
    `1 stream  ${"░".repeat(30)}  warming up, 12 s`,
    "4 in flight   38 completed   2 failed",
    "0 tok/s  ▁",
  ]);
});

test("the bar is full and no fuller while the last requests end", () => {
  const text = liveLoadText({ ...live, seconds: 99, isDraining: true }, { name: "x", durationSeconds: 30 }, [1]);
  expect(text.split("\n")[0]).toBe(`x  ${"█".repeat(30)}  waiting for open requests, 30 of 30 s`);
});

test("no line is wider than the terminal, and the sparkline keeps to the latest 40 cells", () => {
  const rates = Array.from({ length: 4000 }, (_, i) => i % 97);
  for (const columns of [20, 60, 300]) {
    const lines = liveLoadText(live, { name: "n".repeat(200), requests: 5 }, rates, columns).split("\n");
    for (const { length } of lines) expect(length).toBeLessThanOrEqual(Math.min(100, columns));
  }
  expect(liveLoadText(live, { name: "x" }, rates).split("\n")[2]).toHaveLength("1,234 tok/s  ".length + 40);
});

test("of a long load only the rates that are shown are kept, and they show the same", () => {
  const all: number[] = [];
  const kept: number[] = [];
  for (let i = 0; i < 1000; i++) {
    all.push((i * i) % 97);
    addRate(kept, (i * i) % 97);
    expect(liveLoadText(live, { name: "x" }, kept)).toBe(liveLoadText(live, { name: "x" }, all));
  }
  expect(kept.length).toBeLessThanOrEqual(160);
});

test("without a terminal there is one line every ten seconds", () => {
  const lines: string[] = [];
  const view = plainView({ name: "4 streams" }, (line) => lines.push(line));
  for (const seconds of [0.2, 9.9, 10.1, 10.4, 19, 31, 39.9]) view.update({ ...live, seconds });
  view.stop();
  expect(lines).toHaveLength(2);
  expect(lines[0]).toBe(
    "4 streams: 10 s; 4 in flight, 38 completed, 2 failed; 1,234 tok/s; first token p50 37.9 p99 86.4 ms; " +
      "between tokens p50 8.31 p99 17.0 ms; server: 4 running, 7 waiting, KV cache 12 %",
  );
  expect(plainLine({ ...live, isDraining: true }, { name: "x" })).toMatch(/^x: waiting for open requests, 12 s;/);
});
