import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BundledCli, bundleCli, goldenModel } from "./testing/bundled-cli.ts";

let cli: BundledCli;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvant-bench-cold-"));
  cli = await bundleCli();
});
afterAll(() => {
  cli?.remove();
  rmSync(folder, { recursive: true, force: true });
});

test("the built-in model starts cold and warm in turn, or the result says why not", async () => {
  const { exitCode, stdout, stderr } = await cli.run([
    "bench",
    "cold",
    "--runs",
    "2",
    "--weights",
    "int4-g32",
    "--json",
  ]);
  expect(exitCode, stderr).toBe(0);
  const result = JSON.parse(stdout);
  expect(result).toMatchObject({
    kind: "kvant-cold",
    version: 1,
    model: { id: "tiny", weights: "int4-g32" },
    serveArgs: ["--weights", "int4-g32"],
    promptTokens: 32,
    files: { count: 5 },
  });
  const starts = result.runs.map(({ start }: { start: string }) => start);
  if (result.eviction === "none") {
    expect(starts).toEqual(["warm", "warm"]);
    expect(result.warnings.join()).toContain("no cold start: ");
  } else expect(starts).toEqual(["cold", "warm", "cold", "warm"]);
  for (const { at, loadSeconds, firstTokenSeconds, firstStepSeconds, laterStepSeconds } of result.runs) {
    const marks = [at.loading, at.loaded, at.listening, at.ready, at.firstToken, at.firstStep];
    expect(marks).toEqual(marks.toSorted((a: number, b: number) => a - b));
    expect(loadSeconds).toBeLessThan(at.loaded);
    expect(firstTokenSeconds).toBeLessThan(at.firstToken);
    expect(firstStepSeconds).toBeGreaterThan(0);
    expect(laterStepSeconds).toBeGreaterThan(0);
  }
});

test("a model without a tokenizer and random weights are timed too, and the table says that nothing was cold", async () => {
  const model = goldenModel("llama");
  const { exitCode, stdout, stderr } = await cli.run(["bench", "cold", model, "--runs", "1"]);
  expect(exitCode, stderr).toBe(0);
  expect(stdout).toMatch(/^warm +/m);
  expect(stdout).toMatch(/^1 warm +/m);

  const random = await cli.run(["bench", "cold", model, "--load", "dummy", "--runs", "1"]);
  expect(random.exitCode, random.stderr).toBe(0);
  expect(random.stdout).toContain("No start was cold.");
  expect(random.stdout).toContain("random weights come from no file");
});

test("the result is written as JSON, as a page and as Markdown, and a comparison of loads refuses it by its name", async () => {
  const [output, html, markdown] = ["cold.json", "cold.html", "cold.md"].map((name) => join(folder, name));
  const files = ["--output", output!, "--html", html!, "--markdown", markdown!];
  const cold = ["bench", "cold", "tiny", "--runs", "1", "--context-length", "64", ...files];
  const { exitCode, stderr } = await cli.run(cold);
  expect(exitCode, stderr).toBe(0);
  expect(stderr).toContain(`wrote ${html}`);
  const result = JSON.parse(readFileSync(output!, "utf8"));
  expect(result).toMatchObject({
    kind: "kvant-cold",
    flags: { model: "tiny", runs: 1, "prompt-tokens": 32, "limit-seconds": 600, "context-length": 64 },
    serveArgs: ["tiny", "--context-length", "64"],
  });
  expect(Object.keys(result.flags)).not.toContain("output");
  expect(readFileSync(html!, "utf8")).toContain("<h1>tiny from its start to the first tokens</h1>");
  expect(readFileSync(markdown!, "utf8")).toMatch(/\nkvant bench cold tiny .*--context-length 64.*\n/);
  const compared = await cli.run(["bench", "compare", output!, output!]);
  expect(compared.exitCode).toBe(1);
  expect(compared.stderr).toContain(
    "cold.json: is a result of kvant bench cold, and this takes results of kvant bench serve",
  );
  const refused = await cli.run(["bench", "cold", "--html", join(folder, "absent", "cold.html")]);
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toContain("cold.html: cannot be written (ENOENT)");
});

test("a model that does not load ends the command with what its server said", async () => {
  const { exitCode, stderr } = await cli.run(["bench", "cold", "absent", "--runs", "1"]);
  expect(exitCode).toBe(1);
  expect(stderr).toContain("the server ended with 1 before it was ready");
  expect(stderr).toContain("CHECKPOINT_NOT_FOUND");
});

/** Processes of this test's command line, by their arguments in /proc. */
function running(): readonly string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`${cli.entry}\0`);
    } catch {
      return false;
    }
  });
}

test.skipIf(process.platform !== "linux").each([
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("%s ends the server that runs with the command", async (signal, exitCode) => {
  const child = cli.start(["bench", "cold", "--runs", "100"]);
  const ended = new Promise((resolve) => child.once("close", resolve));
  const started = new Promise<void>((resolve) => {
    createInterface({ input: child.stderr! }).on("line", (line) => line.includes("warm start 1 of 100") && resolve());
  });
  await started;
  await expect.poll(() => running().length, { timeout: 60_000 }).toBeGreaterThan(1);
  child.kill(signal);
  expect(await ended).toBe(exitCode);
  await expect.poll(running, { timeout: 60_000 }).toEqual([]);
});

test("a shape and a model exclude each other", async () => {
  const { exitCode, stderr } = await cli.run(["bench", "cold", "tiny", "--shape", "tinyllama-1.1b"]);
  expect(exitCode).toBe(1);
  expect(stderr).toContain("give either MODEL or --shape NAME, not both");
});
