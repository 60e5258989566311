import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { GenerateEvent } from "../engine.ts";
import { greedyRequest } from "../testing/golden.ts";
import { type EngineProcessHooks, RemoteEngine, startEngineProcess } from "./remote-engine.ts";

const entry = fileURLToPath(new URL("../testing/scripted-engine-process.ts", import.meta.url));

let folder: string;
let engines: RemoteEngine[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "kvant engine ü "));
  engines = [];
});

afterEach(async () => {
  await Promise.all(engines.map((engine) => engine.close()));
  rmSync(folder, { recursive: true });
});

const counter = () => join(folder, "starts");
const starts = () => (existsSync(counter()) ? readFileSync(counter(), "utf8").trim().split("\n").length : 0);

function open(script: string, hooks: EngineProcessHooks = {}): RemoteEngine {
  const engine = new RemoteEngine({ model: counter(), servedModelName: script }, { entry, ...hooks });
  engines.push(engine);
  return engine;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe("an engine process that is closed while it loads", () => {
  test("ends, and whoever waits for it is told", async () => {
    const engine = open("silent");
    const start = expect(engine.firstStart).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
    await until(() => starts() === 1);
    await Promise.all([engine.close(), engine.close()]);
    await start;
    expect(engine.state).toBe("closed");
    expect(() => process.kill(engine.processId!, 0)).toThrow();
  });
});

describe("an engine process that dies at once", () => {
  test("is reported with its own last message", async () => {
    const start = startEngineProcess({ model: counter(), servedModelName: "fatal" }, { entry });
    await expect(start).rejects.toMatchObject({ code: "OUT_OF_MEMORY", message: "no memory for the weights" });
    expect(starts()).toBe(1);
  });
});

describe("an engine process that dies while serving and cannot come back", () => {
  test("hands out what it had said, then ENGINE_DIED; holds no pages; waits longer between restarts; closes", async () => {
    const faults: string[] = [];
    const engine = open("once", { onFault: ({ message }) => faults.push(message) });
    await engine.firstStart;
    await until(() => engine.stats().promptTokens === 7);
    const events: GenerateEvent[] = [];
    const reading = (async () => {
      for await (const event of engine.generate(greedyRequest([5], 4))) events.push(event);
    })();
    await expect(reading).rejects.toMatchObject({ code: "ENGINE_DIED", message: expect.stringContaining("code 3") });
    expect(events).toMatchObject([{ text: "last words" }]);
    expect(engine.stats()).toMatchObject({ running: 0, pages: { free: 0, cached: 0, used: 0 }, restarts: 1 });
    expect(engine.stats().hostPages).toEqual({ free: 0, used: 0 });
    await until(() => faults.length === 2);
    expect(faults[1]).toContain("no memory for the weights");
    expect(engine.state).toBe("restarting");
    expect(starts()).toBe(2);
    // A drain has nothing to wait for, and no restart comes after it.
    await engine.drain();
    await engine.close();
    expect(engine.state).toBe("closed");
  });
});

test("a request that cannot cross the process boundary fails alone and leaves nothing to drain", async () => {
  const engine = open("once");
  await engine.firstStart;
  const request = { ...greedyRequest([5], 4), cacheSalt: (() => "a function cannot be sent") as never };
  const reading = (async () => {
    for await (const _ of engine.generate(request));
  })();
  await expect(reading).rejects.toThrow(/could not be cloned/);
  await engine.drain();
});

test("a signal that outlives its requests holds none of them", async () => {
  const engine = open("once");
  await engine.firstStart;
  const { signal } = new AbortController();
  let listeners = 0;
  const counted = Object.assign(signal, {
    addEventListener: () => listeners++,
    removeEventListener: () => listeners--,
  }) as AbortSignal;
  const reading = (async () => {
    for await (const _ of engine.generate(greedyRequest([5], 4), counted));
  })();
  await expect(reading).rejects.toMatchObject({ code: "ENGINE_DIED" });
  expect(listeners).toBe(0);
});
