import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { PlannedRequest, Workload } from "../load/planned-request.ts";
import { percentiles } from "../percentiles.ts";
import type { AnswerScript } from "../scripted-server/answer-script.ts";
import { RandomSource } from "../workload/random-source.ts";
import {
  exponentialCumulative,
  kolmogorovCritical,
  kolmogorovStatistic,
} from "../workload/testing/kolmogorov-smirnov.ts";
import { testSeed } from "../workload/testing/seed.ts";
import type { LoadRun } from "./load-run.ts";
import { addedSeconds, scriptedRequest } from "./measure-client.ts";
import { type RunLoadOptions, runLoad } from "./run-load.ts";
import { testWorkerCommand } from "./testing/test-worker-command.ts";
import type { SentTimes } from "./worker-messages.ts";
import { WorkerProcess } from "./worker-process.ts";

const server = new WorkerProcess(testWorkerCommand);
let url: string;

beforeAll(async () => {
  const serving = server.next("serving");
  server.send({ type: "serve" });
  url = `http://127.0.0.1:${(await serving).port}`;
});

afterAll(() => server.close());

async function sentTimes(): Promise<SentTimes> {
  const times = server.next("sent-times");
  server.send({ type: "sent-times" });
  return (await times).times;
}

function planned(requests: readonly PlannedRequest[]): Workload {
  return { description: "scripted", size: requests.length, requests: () => requests.values() };
}

function load(
  scripts: readonly AnswerScript[],
  options: Partial<RunLoadOptions> & { readonly due?: readonly number[] },
) {
  const { due, ...rest } = options;
  const requests = scripts.map((script, index) => ({
    ...scriptedRequest(script, index),
    ...(due === undefined ? {} : { dueSeconds: due[index]! }),
  }));
  return runLoad({
    target: { url, dialect: "openai-completions", model: "scripted" },
    workload: planned(requests),
    deadlineSeconds: 60,
    workers: 1,
    workerCommand: testWorkerCommand,
    ...rest,
  });
}

/** A figure's distance from the truth in units of the bar that it must keep: 2 ms, or 2 % of longer times. */
function barsFrom(measured: number | undefined, truth: number): number {
  return Math.abs(measured! - truth) / Math.max(0.002, truth * 0.02);
}

const shares = [0.5, 0.9, 0.95, 0.99, 0.999];

/** What the server did, by its own clock: due to first chunk, and between chunks. */
function truthOf(run: LoadRun, times: SentTimes) {
  const [firsts, gaps]: [number[], number[]] = [[], []];
  for (const { index, dueAt } of run.records) {
    const sent = [...times.get(index)!].map((nanoseconds) => (nanoseconds - Number(run.startNanoseconds)) / 1e9);
    firsts.push(sent[0]! - dueAt);
    for (let i = 1; i < sent.length; i++) gaps.push(sent[i]! - sent[i - 1]!);
  }
  const at = (values: readonly number[]) =>
    percentiles(
      values,
      shares.map((share) => share * 100),
    );
  return { timeToFirstToken: at(firsts), interToken: at(gaps) };
}

const attempts = 5;

/**
 * Each figure keeps its bar in most attempts: a machine with more to do than it has cores delays either process now and then, and
 * what is wrong in the client comes each time.
 * @param attempt gives figures by name, in units of their bars
 */
async function expectMostWithin(attempt: () => Promise<ReadonlyMap<string, number>>): Promise<void> {
  const found = new Map<string, number[]>();
  const isSettled = () =>
    found.size > 0 && [...found.values()].every((bars) => bars.filter((bar) => bar <= 1).length > attempts / 2);
  for (let i = 0; i < attempts && !isSettled(); i++) {
    for (const [name, bars] of await attempt()) found.set(name, [...(found.get(name) ?? []), bars]);
  }
  const failed = [...found].filter(([, bars]) => percentiles(bars, [50])[0]! > 1);
  expect(Object.fromEntries(failed)).toEqual({});
}

describe("against a server whose moments are known", () => {
  test("all percentiles are within 2 ms or 2 % of them, with jitter and stalls, in open loops and closed ones", async () => {
    const random = new RandomSource(testSeed, "scripts");
    const scripts = Array.from({ length: 60 }, (_, id): AnswerScript => {
      const delays = Array.from({ length: 40 }, (_, chunk) => {
        const base = chunk === 0 ? 0.05 : 0.01;
        const stall = chunk > 0 && random.uniform() < 0.01 ? 0.3 : 0;
        return base + random.exponential() * 0.01 + stall;
      });
      return { id, delays };
    });
    const due = scripts.map((_, i) => i * 0.025);
    const [nominal] = percentiles(
      scripts.flatMap(({ delays }) => delays.slice(1)),
      [50],
    );
    for (const options of [{ due }, { concurrency: 20 }]) {
      await expectMostWithin(async () => {
        const run = await load(scripts, options);
        expect(run.totals, `seed ${testSeed}`).toMatchObject({ requests: 60, completed: 60, outputTokens: 2400 });
        const truth = truthOf(run, await sentTimes());
        const { timeToFirstToken, interToken } = run.histograms;
        return new Map([
          ...shares.flatMap((share, i): [string, number][] => [
            [`first token ${share}`, barsFrom(timeToFirstToken.quantile(share), truth.timeToFirstToken[i]!)],
            [`inter-token ${share}`, barsFrom(interToken.quantile(share), truth.interToken[i]!)],
          ]),
          ["inter-token as scripted", barsFrom(interToken.quantile(0.5), nominal!)],
        ]);
      });
    }
  });

  test("a stall of 5 s stands in the percentiles of an open loop, for every request that was due in it", async () => {
    // 20 a second, 8 s: the stall from 1 s to 6 s meets 100 of 160 requests, evenly from 5 s to nothing.
    const scripts = Array.from({ length: 160 }, (_, id): AnswerScript => ({ id, delays: [0.02, 0.01] }));
    let hasStalled = false;
    const run = await load(scripts, {
      due: scripts.map((_, i) => i / 20),
      onProgress: ({ seconds }) => {
        if (seconds > 1 && !hasStalled) {
          hasStalled = true;
          server.send({ type: "stall", seconds: 5 });
        }
      },
    });
    const truth = truthOf(run, await sentTimes());
    expect(run.totals).toMatchObject({ requests: 160, completed: 160 });
    const { timeToFirstToken, sendDelay } = run.histograms;
    // Arrivals did not wait: 100 of them stalled, half of those for more than half of the 5 s.
    const stalled = run.records.filter((record) => record.firstTokenAt! - record.dueAt > 0.25).length;
    expect(stalled).toBeGreaterThanOrEqual(90);
    expect(timeToFirstToken.quantile(0.99)).toBeGreaterThan(4.5);
    expect(timeToFirstToken.quantile(0.7)).toBeGreaterThan(1.25);
    // Nor did the client: what stands in the latencies is the server's, as its own clock has it.
    expect(sendDelay.quantile(0.5)!).toBeLessThan(truth.timeToFirstToken[0]!);
  });

  test("arrivals of an open loop, as sent, follow their distribution, whoever sends them", async () => {
    const random = new RandomSource(testSeed, "arrivals");
    let at = 0;
    const due = Array.from({ length: 400 }, () => {
      at += random.exponential() / 150;
      return at;
    });
    const scripts = due.map((_, id): AnswerScript => ({ id, delays: [0.5] }));
    const run = await load(scripts, { due, workers: 2 });
    await sentTimes();
    expect(run.client.workers).toBe(2);
    const sent = run.records.map(({ sentAt }) => sentAt).sort((a, b) => a - b);
    const gaps = sent.map((time, i) => time - (sent[i - 1] ?? 0));
    expect(kolmogorovStatistic(gaps, exponentialCumulative(1 / 150)), `seed ${testSeed}`).toBeLessThan(
      kolmogorovCritical,
    );
    // Nothing waited for an answer: each of these takes half a second.
    expect(run.bins.inFlight.reduce((most, open) => Math.max(most, open), 0)).toBeGreaterThan(40);
  });

  test("a chunk reaches the client's clock after the server has written it", async () => {
    const scripts = Array.from(
      { length: 8 },
      (_, id): AnswerScript => ({ id, delays: new Array<number>(50).fill(0.01) }),
    );
    const run = await load(scripts, { concurrency: 8, workers: 2 });
    const added = addedSeconds(run, await sentTimes());
    expect(added).toHaveLength(400);
    // Float32 gaps, added up, are good to a few microseconds.
    for (const seconds of added) expect(seconds).toBeGreaterThan(-2e-5);
  });
});

describe("a load", () => {
  const steady = (count: number): readonly AnswerScript[] =>
    Array.from({ length: count }, (_, id) => ({ id, delays: [0.01, 0.01, 0.01] }));

  test("leaves its warm-up out, and counts the rest", async () => {
    const run = await load(steady(30), { concurrency: 4, warmUp: { requests: 10 } });
    expect(run.totals).toMatchObject({ requests: 20, completed: 20, outputTokens: 60, promptTokens: 20 });
    expect(run.totals.countedBy).toEqual({ usage: 20 });
    expect(run.records.every(({ index }) => index >= 10)).toBe(true);
    expect(run.tokensArrived).toBe(60);
    expect(run.measuredFrom).toBeGreaterThan(0);
    expect(run.measuredUntil).toBe(run.endedAt);
    expect(run.bins.outputTokens.reduce((sum, count) => sum + count, 0)).toBe(90);
    expect(run.bins.inFlight.at(-1)).toBe(0);
    expect(run.isInterrupted).toBe(false);
  });

  test("ends after its time, when those in flight have ended", async () => {
    const run = await load(steady(1000), { concurrency: 2, durationSeconds: 0.6, warmUp: { seconds: 0.2 } });
    expect(run.totals.requests).toBeGreaterThan(2);
    expect(run.totals.requests).toBeLessThan(1000);
    expect(run.totals.failures).toEqual({});
    expect(run.measuredFrom).toBe(0.2);
    expect(run.measuredUntil).toBe(0.6);
    for (const { dueAt } of run.records) expect(dueAt).toBeGreaterThanOrEqual(0.2);
  });

  test("of an open loop that time bounds is measured up to that time", async () => {
    const requests = steady(2).map((script, index) => ({ ...scriptedRequest(script, index), dueSeconds: index / 10 }));
    const workload = { description: "ends by time", size: undefined, requests: () => requests.values() };
    const run = await load([], { workload, durationSeconds: 100 });
    expect(run).toMatchObject({ measuredFrom: 0, measuredUntil: 100, requestsCompleted: 2 });
    const counted = await load([], { workload: { ...workload, size: 2 }, durationSeconds: 100 });
    expect(counted.measuredUntil).toBe(counted.endedAt);
  });

  test("ends at once when it is told to, with what there is", async () => {
    const stop = new AbortController();
    const run = await load([...steady(3), { id: 9, delays: [0.01, 30] }], {
      concurrency: 4,
      signal: stop.signal,
      onProgress: ({ completed }) => {
        if (completed === 3) stop.abort();
      },
    });
    expect(run.isInterrupted).toBe(true);
    expect(run.totals).toMatchObject({ requests: 4, completed: 3, failures: { cancelled: 1 } });
    expect(run.endedAt).toBeLessThan(30);
    expect(run.warnings.join()).toContain("interrupted");
  });

  test("knows failures by their kind, with an example of each", async () => {
    const run = await load(
      [
        { id: 0, delays: [0.01] },
        { id: 1, delays: [0.01], status: 429 },
        { id: 2, delays: [0.01, 0.01], end: "cut-off" },
        { id: 3, delays: [0.01, 0.01], end: "error-event" },
        { id: 4, delays: [0.01, 0.01], end: "reset" },
        { id: 5, delays: [0.01, 5] },
      ],
      { concurrency: 6, deadlineSeconds: 1 },
    );
    expect(run.totals.failures).toEqual({ status: 1, "cut-off": 2, "stream-error": 1, deadline: 1 });
    expect(run.totals.completed).toBe(1);
    expect(run.totals.failureExamples).toMatchObject({
      status: "status 429: refused with 429, as scripted",
      "stream-error": "it broke, as scripted",
    });
    // Of a failed answer what came counts.
    expect(run.histograms.timeToFirstToken.count).toBe(5);
    expect(run.histograms.endToEnd.count).toBe(1);
  });

  test("tells how it goes on while it runs", async () => {
    const lives: { seconds: number; sent: number; completed: number; outputTokens: number }[] = [];
    const run = await load(
      Array.from({ length: 4 }, (_, id) => ({ id, delays: new Array<number>(60).fill(0.02) })),
      { concurrency: 4, onProgress: (live) => lives.push(live) },
    );
    expect(lives.length).toBeGreaterThan(2);
    expect(lives.at(-1)).toMatchObject({ sent: 4, completed: 4, inFlight: 0, outputTokens: 240, isDraining: true });
    for (const [i, live] of lives.slice(1).entries()) {
      expect(live.outputTokens).toBeGreaterThanOrEqual(lives[i]!.outputTokens);
    }
    expect(run.client.busyShare).toBeLessThan(1);
  });

  test("reads the server's metrics beside, and says when it could not", async () => {
    let reads = 0;
    const metrics = createServer((_, response) => {
      response.writeHead(reads++ === 0 ? 200 : 503, { "content-type": "text/plain" });
      response.end('vllm:num_requests_running{engine="0"} 3\n');
    });
    await new Promise<void>((resolve) => metrics.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = metrics.address() as AddressInfo;
      const run = await load([{ id: 0, delays: [1.5] }], {
        concurrency: 1,
        metricsUrl: `http://127.0.0.1:${port}/metrics`,
      });
      expect(run.serverSamples).toEqual([{ at: expect.any(Number), running: 3 }]);
      expect(run.warnings).toContain("the server's metrics could not always be read: status 503");
    } finally {
      await new Promise((resolve) => metrics.close(resolve));
    }
  });

  test("fails when one of its processes dies, and leaves none behind", async () => {
    const workerCommand = {
      ...testWorkerCommand,
      entry: fileURLToPath(new URL("testing/dying-worker.ts", import.meta.url)),
    };
    await expect(load(steady(5), { concurrency: 2, workers: 2, workerCommand })).rejects.toMatchObject({
      code: "INTERNAL",
      message: "a client process of the load failed: it ended with 7",
    });
  });

  test("refuses what it cannot do", async () => {
    const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" });
    await expect(load(steady(1), {})).rejects.toEqual(invalid);
    await expect(load(steady(1), { concurrency: 1, due: [0] })).rejects.toEqual(invalid);
    await expect(load(steady(1), { concurrency: 0 })).rejects.toEqual(invalid);
    await expect(load(steady(1), { concurrency: 1, durationSeconds: 1, warmUp: { seconds: 1 } })).rejects.toEqual(
      invalid,
    );
    const endless: Workload = { description: "endless", size: undefined, requests: () => [].values() };
    await expect(load([], { concurrency: 1, workload: endless })).rejects.toEqual(invalid);
    const target = { url, dialect: "openai-chat", model: "m", tokenizerFolder: "/nowhere" } as const;
    await expect(load(steady(1), { concurrency: 1, target })).rejects.toMatchObject({ code: "TOKENIZER_ABSENT" });
  });
});
