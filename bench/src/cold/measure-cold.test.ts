import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ColdRun } from "./cold-result.ts";
import { type MeasureColdOptions, measureCold } from "./measure-cold.ts";
import { evict } from "./page-cache.ts";

const entry = fileURLToPath(new URL("testing/scripted-serve.mjs", import.meta.url));
let folder: string;
let weights: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kvant cold ö "));
  weights = join(folder, "model.safetensors");
  writeFileSync(weights, Buffer.alloc(1 << 20, 7));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const measure = (options: Partial<MeasureColdOptions>) =>
  measureCold({ entry, serveArgs: [], flags: {}, files: [], runs: 2, promptTokens: 32, limitSeconds: 30, ...options });

function inOrder({ at }: ColdRun): boolean {
  const marks = [0, at.loading, at.loaded, at.listening, at.ready, at.firstToken, at.firstStep];
  return marks.every((mark, i) => i === 0 || mark >= marks[i - 1]!);
}

test("random weights start warm alone, and the result says why", async () => {
  const said: string[] = [];
  const result = await measure({ serveArgs: ["chunky"], onProgress: (sentence) => said.push(sentence) });
  expect(said).toEqual(["a start that is not measured", "warm start 1 of 2", "warm start 2 of 2"]);
  expect(result).toMatchObject({
    kind: "kvant-cold",
    version: 1,
    machine: { cpu: "abacus", cores: 2, accelerators: [] },
    software: { kvant: "1.2.3", node: "20.0.0" },
    model: { id: "model", weights: "int8-channel", kvFormat: "int8", tier: "abacus" },
    serveArgs: ["chunky"],
    files: { count: 0, bytes: 0 },
    eviction: "none",
    warnings: ["no cold start: random weights come from no file, so every start is warm"],
  });
  // Half of the context of 40.
  expect(result.promptTokens).toBe(20);
  expect(result.runs.map(({ start }) => start)).toEqual(["warm", "warm"]);
  expect(result.medians.map(({ start, runs }) => [start, runs])).toEqual([["warm", 2]]);
  for (const run of result.runs) {
    expect(inOrder(run), JSON.stringify(run)).toBe(true);
    expect(run).toMatchObject({
      residentBytes: null,
      loadSeconds: 0.02,
      firstStepSeconds: 0.5,
      laterStepSeconds: 0.25,
    });
    // Headers come at once, the token after 5 ms and its second half after 2 more.
    expect(run.firstTokenSeconds).toBeGreaterThan(0.005);
  }
});

test("cold and warm starts take turns where files leave the page cache, and are left out aloud where they do not", async () => {
  const probe = evict([weights], { isMachineWide: false });
  // The scripted server reads nothing, so that its warm starts are none.
  const { runs, warnings, eviction } = await measure({ files: [weights] });
  if (probe.method === "none") {
    expect(runs.map(({ start }) => start)).toEqual(["warm", "warm"]);
    expect(warnings).toContain(`no cold start: ${probe.reason}`);
  } else {
    expect(runs.map(({ start }) => start)).toEqual(["cold", "warm", "cold", "warm"]);
    expect(runs[0]!.residentBytes).toBe(0);
    expect(eviction).toBe("fadvise");
    expect(warnings.join()).toContain(`warm start 1 found 0 of the files' ${1 << 20} bytes in the page cache`);
  }
});

test("a server that ends early is reported with what it said", async () => {
  await expect(measure({ serveArgs: ["broken"] })).rejects.toThrow(
    /ended with 1 before it was ready; it said: .*there is no such model \[CHECKPOINT_NOT_FOUND\]/s,
  );
});

test("a start that takes too long is given up, and its process with it", async () => {
  await expect(measure({ serveArgs: ["stuck"], limitSeconds: 1 })).rejects.toThrow("was given up before it was ready");
});
