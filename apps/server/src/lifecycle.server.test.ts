import { describe, expect, test } from "vitest";
import { FakeEngine } from "./testing/fake-engine.ts";
import { generationClient } from "./testing/generation-client.ts";
import { eventData, eventually, serve } from "./testing/serving.ts";

const long = { prompt: "x", max_tokens: 60, ignore_eos: true, stream: true };

describe("a server", () => {
  test("is live at once and ready when its engine is", async () => {
    const engine = new FakeEngine({ state: "starting" });
    await using served = await serve(engine);
    const statuses = async () => [(await served.get("/health")).status, (await served.get("/ready")).status];
    expect(await statuses()).toEqual([200, 503]);
    engine.setState("ready");
    expect(await statuses()).toEqual([200, 200]);
    engine.setState("restarting");
    expect(await statuses()).toEqual([200, 503]);
  });

  test("that drains finishes what runs and refuses what comes", async () => {
    let release = () => {};
    const holdUntil = new Promise<void>((resolve) => {
      release = resolve;
    });
    const engine = new FakeEngine({ holdUntil });
    await using served = await serve(engine, { grpcPort: 0 });
    using connection = await generationClient(served.server.grpcAddress, { from: "files" });
    const running = await served.post("/v1/completions", long);
    const overGrpc = connection.generate({ text: "x", stopping: { maxTokens: 60, ignoreEos: true } });
    await eventually("both requests", () => engine.stats().running === 2);
    const drained = served.server.drain(600_000);
    const refused = await served.post("/v1/completions", long);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "10"]);
    const ready = await served.get("/ready");
    expect([ready.status, await ready.json()]).toEqual([503, { status: "draining", engine: "ready" }]);
    expect((await served.get("/health")).status).toBe(200);
    release();
    expect(eventData(await running.text()).at(-1)).toBe("[DONE]");
    expect((await overGrpc).at(-1)?.done?.usage?.completionTokens).toBe(60);
    expect(await drained).toEqual({ running: 2, ended: 0 });
    await expect(served.get("/health")).rejects.toThrow();
  });

  test("ends what outlasts the drain's limit with an error event", async () => {
    const engine = new FakeEngine({ holdUntil: new Promise(() => {}) });
    await using served = await serve(engine);
    const running = await served.post("/v1/completions", long);
    expect(await served.server.drain(50)).toEqual({ running: 1, ended: 1 });
    expect(JSON.parse(eventData(await running.text()).at(-1) ?? "").error.code).toBe("shutting_down");
    expect(engine.stats().running).toBe(0);
  });

  test("closes at once in the middle of a drain, and closing again is harmless", async () => {
    const engine = new FakeEngine({ holdUntil: new Promise(() => {}) });
    await using served = await serve(engine);
    const running = await served.post("/v1/completions", long);
    const drained = served.server.drain(600_000);
    await served.server.close();
    expect((await drained).ended).toBe(1);
    await running.text();
    await served.server.close();
  });

  test("that cannot have its port says so and leaves nothing behind", async () => {
    await using served = await serve(new FakeEngine());
    const port = Number(new URL(served.url).port);
    await expect(serve(new FakeEngine(), { port })).rejects.toMatchObject({ code: "EADDRINUSE" });
    // The HTTP port that was taken before gRPC failed is free again.
    await expect(serve(new FakeEngine(), { grpcPort: port })).rejects.toThrow(/EADDRINUSE|bind/);
  });

  test("logs one line per request, without its text", async () => {
    await using served = await serve(new FakeEngine(), { grpcPort: 0 });
    using connection = await generationClient(served.server.grpcAddress, { from: "files" });
    await served.post("/v1/completions", { prompt: "the secret text", max_tokens: 3 });
    await served.post("/v1/completions", { prompt: "the secret text", n: 99 });
    await connection.generate({ text: "the secret text", stopping: { maxTokens: 3 } });
    await served.get("/health");
    await eventually("three lines", () => served.log.length === 3);
    expect(served.log[0]).toMatchObject({
      method: "POST",
      route: "/v1/completions",
      status: 200,
      promptTokens: 16,
      completionTokens: 3,
    });
    expect(served.log[1]).toMatchObject({ status: 400 });
    expect(served.log[2]).toMatchObject({
      method: "gRPC",
      route: "/kvant.v1.GenerationService/Generate",
      status: "OK",
      completionTokens: 3,
    });
    expect(JSON.stringify(served.log)).not.toContain("secret");
  });
});
