import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { LoadResult } from "@kvant/bench";
import { readLoadResult, writeLoadResult } from "@kvant/bench";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BundledCli, bundleCli } from "./testing/bundled-cli.ts";

let cli: BundledCli;
let folder: string;
let server: ChildProcess;
let [url, grpc] = ["", ""];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvant-bench-serve-"));
  cli = await bundleCli();
  const flags = ["--backend", "reference", "--context-length", "128", "--port", "0", "--grpc-port", "0"];
  server = cli.start(["serve", ...flags, "--log-level", "error"]);
  [url, grpc] = await new Promise<[string, string]>((resolve, reject) => {
    server.once("close", (code) => reject(new Error(`the server ended with ${code}`)));
    createInterface({ input: server.stderr! }).on("line", (line) => {
      const found = /ready at (http:\S+), gRPC at (\S+)/.exec(line);
      if (found !== null) resolve([found[1]!, found[2]!]);
    });
  });
});

afterAll(async () => {
  const ended = new Promise((resolve) => server?.once("close", resolve));
  server?.kill("SIGTERM");
  await ended;
  cli?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const small = ["--input-tokens", "8-16", "--output-tokens", "6"];

test("a sweep over a running server is written as JSON, a page and Markdown, and compares as equal to itself", async () => {
  const [output, html, markdown] = ["result.json", "page.html", "result.md"].map((name) => join(folder, name));
  const { exitCode, stdout, stderr } = await cli.run([
    ...["bench", "serve", "--url", `${url}/v1/`, "--concurrency", "1,3", "--requests", "9", "--warm-up", "2", ...small],
    ...["--slo", "ttft=60s,e2e=60s", "--seed", "7", "--name", "A <name>"],
    ...["--output", output!, "--html", html!, "--markdown", markdown!],
  ]);
  expect(exitCode, stderr).toBe(0);
  const result = readLoadResult(output!);
  expect(result).toMatchObject({
    server: { target: url, model: "tiny", dialect: "openai-completions", software: "kvant 0.1.0" },
    flags: { url: `${url}/v1/`, concurrency: "1,3", requests: 9, "warm-up": 2, seed: 7 },
    objectives: { ttft: 60, e2e: 60 },
  });
  expect(result.levels.map(({ name }) => name)).toEqual(["1 stream", "3 streams"]);
  for (const level of result.levels) {
    expect(level).toMatchObject({ requests: 9, completed: 9, failures: {}, outputTokens: 54, goodShare: 1 });
    expect(level.countedBy).toEqual({ usage: 9 });
    expect(level.interToken!.count).toBe(45);
    expect(level.samples.endToEnd).toHaveLength(9);
    expect(level.timeline.server.running).toHaveLength(level.timeline.outputTokensPerSecond.length);
  }
  expect(stdout).toMatch(/tiny, int8-channel weights.*\n.*8-16 tokens in, 6 out.*closed loop\n/);
  expect(stdout).toMatch(/^1 stream +9 +0 /m);
  expect(stdout).toMatch(/^3 streams +9 +0 /m);
  expect(readFileSync(html!, "utf8")).toContain("<h1>A &lt;name&gt;</h1>");
  expect(readFileSync(markdown!, "utf8")).toContain("kvant bench serve --url");
  const compared = await cli.run(["bench", "compare", output!, output!]);
  expect(compared.exitCode, compared.stderr).toBe(0);
  expect(compared.stdout).toContain("Nothing is worse by more than 5 % with 95 % confidence.");
});

test.each([
  ["an open loop over HTTP", () => ["--url", url, "--rate", "4", "--duration", "2"], "openai-completions"],
  ["a closed loop over gRPC", () => ["--grpc", grpc, "--concurrency", "2", "--requests", "6"], "kvant-grpc"],
])("%s gives a row per level, and nothing else on standard output", async (_, load, dialect) => {
  const { exitCode, stdout, stderr } = await cli.run(["bench", "serve", ...load(), ...small, "--json"]);
  expect(exitCode, stderr).toBe(0);
  const [row, ...others] = stdout.trimEnd().split("\n");
  expect(others).toEqual([]);
  const told = JSON.parse(row!);
  expect(stderr).toMatch(
    /^the client's \d+ process(es)? takes? up to [\d,]+ tokens per second and adds? [\d.]+ ms \(p99\)$/m,
  );
  expect(told).toMatchObject({ model: "tiny", dialect, failures: 0, device: "cpu", kvFormat: "int8" });
  expect(told.completed).toBe(told.requests);
  expect(told.requests).toBeGreaterThan(0);
  expect(told.firstTokenSeconds.p99).toBeGreaterThanOrEqual(told.firstTokenSeconds.p50);
});

describe("a server of its own", () => {
  /** Processes that run this test's command line, by their arguments in /proc. */
  const running = (): readonly string[] =>
    readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(`${cli.entry}\0`));

  function commandLine(pid: string): string {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8");
    } catch {
      return "";
    }
  }

  const serve = ["--", "--backend", "reference", "--context-length", "128"];

  test("that refuses the first request is ended, and so is the command", async () => {
    const keys = join(folder, "keys");
    writeFileSync(keys, "sk-12345678\n");
    const load = ["bench", "serve", "--streams", "1", "--requests", "2", ...small];
    const refused = await cli.run([...load, ...serve, "--api-key-file", keys]);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toMatch(/the server wants a key: give --api-key-file before -- \[UNAUTHORIZED\]\n$/);
    const loaded = await cli.run([...load, "--json", "--api-key-file", keys, ...serve, "--api-key-file", keys]);
    expect(loaded.exitCode, loaded.stderr).toBe(0);
    const row = JSON.parse(loaded.stdout);
    expect(row).toMatchObject({ completed: 2, failures: 0 });
    expect(row.steps).toBeGreaterThan(0);
  });

  test.skipIf(process.platform !== "linux").each([
    [["SIGTERM"], 143],
    [["SIGHUP", "SIGTERM"], 143],
  ] as const)("ends with the command when %j comes", async (signals, exitCode) => {
    const others = new Set(running());
    const load = ["bench", "serve", "--streams", "1", "--duration", "300", ...small, ...serve];
    const child = cli.start(load);
    const ended = new Promise((resolve) => child.once("close", resolve));
    const said: string[] = [];
    const [first, second] = signals;
    createInterface({ input: child.stderr! }).on("line", (line) => {
      said.push(line);
      // Two that wait together may be heard in either order.
      if (second !== undefined && /ending the load; once more/.test(line)) child.kill(second);
    });
    await expect.poll(() => said.join("\n"), { timeout: 60_000 }).toMatch(/^1 stream: 10 s; /m);
    expect(running().filter((pid) => !others.has(pid)).length).toBeGreaterThan(2);
    child.kill(first);
    expect(await ended).toBe(exitCode);
    await expect.poll(() => running().filter((pid) => !others.has(pid)), { timeout: 60_000 }).toEqual([]);
  });
});

test("a trace that a duration cuts is measured up to it, and one that ends before to its last answer", async () => {
  const [trace, output] = ["trace.jsonl", "trace.json"].map((name) => join(folder, name));
  const rows = [0, 300, 60_000].map((timestamp) => ({ timestamp, input_length: 8, output_length: 4, hash_ids: [] }));
  const replay = ["--url", url, "--dataset", "trace", "--dataset-file", trace!, "--output", output!];
  for (const [count, isCut] of [
    [3, true],
    [2, false],
  ] as const) {
    writeFileSync(
      trace!,
      `${rows
        .slice(0, count)
        .map((row) => JSON.stringify(row))
        .join("\n")}\n`,
    );
    const { exitCode, stderr } = await cli.run(["bench", "serve", ...replay, "--duration", "50"]);
    expect(exitCode, stderr).toBe(0);
    const [level] = readLoadResult(output!).levels;
    expect(level).toMatchObject({ requests: 2, completed: 2, outputTokens: 8 });
    if (isCut) expect(level).toMatchObject({ seconds: 50, outputTokensPerSecond: 8 / 50 });
    else expect(level!.seconds).toBeLessThan(50);
  }
});

test("a load of which nothing was measured ends with 1 and says so", async () => {
  const warmUp = ["--rate", "0.001", "--arrival", "constant", "--duration", "1", "--warm-up", "1s"];
  const { exitCode, stdout, stderr } = await cli.run(["bench", "serve", "--url", url, ...warmUp, ...small, "--json"]);
  expect(exitCode, stderr).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ requests: 0 });
  expect(stderr).toContain("warning: no request was measured");
});

describe("an end before the end", () => {
  test("Ctrl-C ends the load with a report of what there was", async () => {
    const output = join(folder, "interrupted.json");
    const child = cli.start([
      ...["bench", "serve", "--url", url, "--concurrency", "2", "--duration", "300", ...small, "--output", output],
    ]);
    const said: string[] = [];
    const ended = new Promise((resolve) => child.once("close", resolve));
    createInterface({ input: child.stderr! }).on("line", (line) => said.push(line));
    // A line about the running load comes after ten seconds: by then it has begun.
    await expect.poll(() => said.join("\n"), { timeout: 60_000 }).toMatch(/^2 streams: 10 s; /m);
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    expect(said.join("\n")).toContain("ending the load; once more to leave without a report");
    const [level] = readLoadResult(output).levels;
    expect(level!.completed).toBeGreaterThan(0);
    expect(level!.seconds).toBeLessThan(300);
  });
});

describe("refusals are one sentence with a code, before any load", () => {
  test.each<[string, string[], RegExp]>([
    ["a server that is not there", ["--url", "http://127.0.0.1:59999"], /59999: nothing answers there.*ECONNREFUSED/],
    ["a gRPC server that is not there", ["--grpc", "127.0.0.1:59999"], /grpc:\/\/127\.0\.0\.1:59999: nothing answers/],
    ["no address", ["--url", "localhost:8000"], /"localhost:8000" is not an address/],
    ["an objective that is none", ["--slo", "speed=1s"], /--slo: "speed=1s" is not one of ttft/],
    ["a trace without a file", ["--dataset", "trace"], /the dataset trace is read from a file; give --dataset-file/],
    ["a rate that nobody can send", ["--rate", "2000000"], /^kvant: --rate is 2000000, not a number above 0/],
  ])("%s", async (_, args, sentence) => {
    const { exitCode, stdout, stderr } = await cli.run(["bench", "serve", ...args]);
    expect([exitCode, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(/\[INVALID_ARGUMENT\]\n$/);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });
});

test("a file that cannot be written is refused before any load", async () => {
  const absent = join(folder, "absent", "page.html");
  const load = ["bench", "serve", "--url", url, "--duration", "300", "--html", absent];
  const { exitCode, stdout, stderr } = await cli.run(load);
  expect([exitCode, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/page\.html: cannot be written \(ENOENT\) \[WRITE_FAILED\]\n$/);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
});

describe("bench compare", () => {
  /** A level of 60 requests whose latencies are around `scale` seconds. */
  function resultFile(name: string, scale: number): string {
    const template = readLoadResult(join(folder, "result.json"));
    const values = Array.from({ length: 60 }, (_, i) => scale * (1 + 0.01 * (i % 7)));
    const samples = { timeToFirstToken: values, timePerOutputToken: values, endToEnd: values, outputTokens: values };
    const [level] = template.levels;
    const result: LoadResult = { ...template, levels: [{ ...level!, samples }] };
    const path = join(folder, name);
    writeLoadResult(path, result);
    return path;
  }

  test("ends with 3 where something is worse, and prints a row per measure", async () => {
    const [before, after] = [resultFile("before.json", 1), resultFile("after.json", 1.2)];
    const markdown = join(folder, "compared.md");
    const flags = ["--metric", "e2e,tpot.p50", "--threshold", "10%", "--json", "--markdown", markdown];
    const worse = await cli.run(["bench", "compare", before, after, ...flags]);
    expect(worse.exitCode, worse.stderr).toBe(3);
    const rows = worse.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(rows.map(({ level, measure, verdict }) => [level, measure, verdict])).toEqual([
      ["1 stream", "tpot.p50", "worse"],
      ["1 stream", "e2e.p50", "worse"],
      ["1 stream", "e2e.p99", "unknown"],
    ]);
    expect(readFileSync(markdown, "utf8")).toMatch(/^# before\.json and after\.json\n/);
    expect((await cli.run(["bench", "compare", after, before, ...flags])).exitCode).toBe(0);
    expect((await cli.run(["bench", "compare", before, after, "--metric", "e2e", "--threshold", "30"])).exitCode).toBe(
      0,
    );
  });

  test("ends with 4 where a metric that was asked for has too few values at every level", async () => {
    const path = resultFile("few.json", 1);
    const asked = await cli.run(["bench", "compare", path, path, "--metric", "e2e.p99"]);
    expect(asked.exitCode, asked.stderr).toBe(4);
    expect(asked.stdout).toContain("Unknown, of too few values: e2e.p99 at 1 stream.");
    expect((await cli.run(["bench", "compare", path, path, "--metric", "e2e"])).exitCode).toBe(0);
  });

  test("and bench overlay refuse with 1 a file that cannot be written", async () => {
    const [path, out] = [resultFile("written.json", 1), join(folder, "absent", "out")];
    for (const args of [
      ["compare", path, path, "--markdown", out],
      ["overlay", path, "--html", out],
    ]) {
      const { exitCode, stdout, stderr } = await cli.run(["bench", ...args]);
      expect([exitCode, stdout]).toEqual([1, ""]);
      expect(stderr).toContain("cannot be written (ENOENT) [WRITE_FAILED]");
    }
  });

  test("refuses with 1 what it cannot read", async () => {
    const other = join(folder, "other.json");
    writeFileSync(other, "{}");
    const absent = join(folder, "absent.json");
    expect(existsSync(absent)).toBe(false);
    for (const [path, sentence] of [
      [other, /other\.json: is no result of kvant bench serve \[INVALID_ARGUMENT\]/],
      [absent, /absent\.json: cannot be read/],
    ] as const) {
      const { exitCode, stdout, stderr } = await cli.run(["bench", "compare", path, path]);
      expect([exitCode, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(sentence);
    }
  });
});
