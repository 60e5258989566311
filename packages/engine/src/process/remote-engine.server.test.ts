import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EngineState } from "../engine.ts";
import { createEngine, type LocalEngine } from "../local-engine.ts";
import { generateIds, goldenModel, greedyRequest, tokens } from "../testing/golden.ts";
import { type RemoteEngine, startEngineProcess } from "./remote-engine.ts";

const options = { model: goldenModel("llama"), device: "reference", kvFormat: "int8", checkInvariant: true };

let local: LocalEngine;
let remote: RemoteEngine;

beforeAll(async () => {
  [local, remote] = await Promise.all([createEngine(options), startEngineProcess(options)]);
});

afterAll(async () => {
  await Promise.all([local.close(), remote.close()]);
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe("an engine process", () => {
  test("describes the same model and generates the same tokens as an engine in this process", async () => {
    const { loadSeconds: _, ...mine } = local.model;
    expect(remote.model).toMatchObject(mine);
    const requests = [
      greedyRequest(tokens(30, 1), 20),
      { ...greedyRequest(tokens(9, 2), 12), n: 2, temperature: 1, seed: 5 },
    ];
    for (const request of requests)
      expect(await generateIds(remote, request)).toEqual(await generateIds(local, request));
  });

  test("refuses with the code and field of the engine's error", async () => {
    const refused = generateIds(remote, greedyRequest([400], 4));
    await expect(refused).rejects.toMatchObject({ name: "KvantError", code: "TOKEN_OUT_OF_RANGE", field: "prompt" });
    await expect(remote.tokenize({ kind: "text", text: "hi" })).rejects.toMatchObject({ code: "TOKENIZER_ABSENT" });
    expect(await remote.tokenize({ kind: "tokens", tokenIds: [5, 6] })).toEqual([5, 6]);
  });

  test("frees the pages of a request whose reader has left", async () => {
    for await (const _ of remote.generate(greedyRequest(tokens(40, 3), 450))) break;
    await until(() => remote.stats().pages.used === 0 && remote.stats().running === 0);
    expect(remote.stats().generationTokens).toBeLessThan(450);
  });

  test("tells observers of its steps", async () => {
    const kinds = new Set<string>();
    const stop = remote.observe({ step: ({ kind }) => kinds.add(kind) });
    await generateIds(remote, greedyRequest(tokens(40, 4), 5));
    stop();
    expect([...kinds].sort()).toEqual(["decode", "prefill"]);
  });

  test("that is killed fails its requests with ENGINE_DIED, is started again and serves", async () => {
    const states: EngineState[] = [];
    const stop = remote.observe({ state: (state) => states.push(state) });
    const before = remote.processId;
    const running = generateIds(remote, greedyRequest(tokens(40, 5), 450));
    const failure = expect(running).rejects.toMatchObject({
      code: "ENGINE_DIED",
      message: expect.stringContaining("SIGKILL"),
    });
    await until(() => remote.stats().running === 1);
    process.kill(before!, "SIGKILL");
    await failure;
    await expect(generateIds(remote, greedyRequest([5], 1))).rejects.toMatchObject({ code: "ENGINE_NOT_READY" });
    await until(() => remote.state === "ready");
    stop();
    expect(states).toEqual(["restarting", "ready"]);
    expect(remote.processId).not.toBe(before);
    expect(remote.stats().restarts).toBe(1);
    expect(await generateIds(remote, greedyRequest(tokens(9, 6), 5))).toHaveLength(1);
  });

  test("leaves SIGINT and SIGTERM, which reach the whole process group, to its parent", async () => {
    const { processId } = remote;
    for (const signal of ["SIGINT", "SIGTERM"]) process.kill(processId!, signal);
    expect(await generateIds(remote, greedyRequest(tokens(9, 8), 40))).toHaveLength(1);
    expect(remote.processId).toBe(processId);
    expect(remote.state).toBe("ready");
  });

  test("that cannot load its model says why and is not started again", async () => {
    const start = startEngineProcess({ ...options, model: "/no/such/folder" });
    await expect(start).rejects.toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("/no/such/folder"),
    });
  });

  test("drains: running requests end, new ones are refused", async () => {
    const running = generateIds(remote, greedyRequest(tokens(20, 7), 60));
    await until(() => remote.stats().running === 1);
    const drained = remote.drain();
    await expect(generateIds(remote, greedyRequest([5], 1))).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
    await drained;
    expect((await running)[0]).toHaveLength(60);
  });
});
