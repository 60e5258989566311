import { Metadata, status } from "@grpc/grpc-js";
import type { Engine } from "@kvant/engine";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { engineCases } from "../testing/engines.ts";
import { FakeEngine, type FakeEngineOptions } from "../testing/fake-engine.ts";
import { answered, generationClient } from "../testing/generation-client.ts";
import { reflectedClient } from "../testing/reflection-client.ts";
import { eventually, type Served, serve } from "../testing/serving.ts";
import type { GetModelInfoResponse__Output } from "./generated/kvant/v1/GetModelInfoResponse.ts";
import type { TokenizeResponse__Output } from "./generated/kvant/v1/TokenizeResponse.ts";

interface WholeCompletion {
  readonly choices: readonly [{ readonly text: string; readonly finish_reason: string }];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number };
}

describe.each(engineCases)("a gRPC client made by reflection on $name", ({ start }) => {
  let engine: Engine;
  let served: Served;
  beforeAll(async () => {
    engine = await start();
    served = await serve(engine, { grpcPort: 0, servedModelName: "tiny" });
  });
  afterAll(async () => {
    await served[Symbol.asyncDispose]();
    await engine.close();
  });

  test("streams the same text as HTTP and ends with usage", async () => {
    using connection = await generationClient(served.server.grpcAddress);
    const prompt = "Once upon a time";
    const messages = await connection.generate({
      text: prompt,
      sampling: { temperature: 0 },
      stopping: { maxTokens: 12 },
    });
    const answer = await served.post("/v1/completions", { prompt, temperature: 0, max_tokens: 12 });
    const { choices, usage } = (await answer.json()) as WholeCompletion;
    expect(messages.map(({ delta }) => delta?.text ?? "").join("")).toBe(choices[0].text);
    expect(messages.at(-2)?.finish?.reason).toBe(`FINISH_REASON_${choices[0].finish_reason.toUpperCase()}`);
    expect(messages.at(-1)?.done?.usage).toMatchObject({
      promptTokens: usage.prompt_tokens,
      completionTokens: usage.completion_tokens,
    });
  });

  test("tokenizes, and generates the same from the token ids", async () => {
    using connection = await generationClient(served.server.grpcAddress);
    const { tokenIds } = await answered<TokenizeResponse__Output>((callback) =>
      connection.client.Tokenize({ text: "In the end" }, connection.metadata, callback),
    );
    const options = { sampling: { temperature: 0 }, stopping: { maxTokens: 8 } };
    const fromText = await connection.generate({ text: "In the end", ...options });
    const fromIds = await connection.generate({ tokenIds: { ids: tokenIds }, ...options });
    const idsOf = (messages: typeof fromText) => messages.flatMap(({ delta }) => delta?.tokenIds ?? []);
    expect(idsOf(fromIds)).toEqual(idsOf(fromText));
    expect(idsOf(fromIds).length).toBeGreaterThan(0);
  });

  test("reports the formats of every tensor class", async () => {
    using connection = await generationClient(served.server.grpcAddress);
    const info = await answered<GetModelInfoResponse__Output>((callback) =>
      connection.client.GetModelInfo({ model: "tiny" }, connection.metadata, callback),
    );
    expect(info.name).toBe("tiny");
    expect(info.contextLength).toBe(engine.model.contextLength);
    expect(info.tensorClasses.map(({ name, format }) => [name, format])).toEqual(
      engine.model.tensorClasses.map((row) => [row.class, row.format]),
    );
  });

  test("cancelling a call frees the request", async () => {
    using connection = await generationClient(served.server.grpcAddress);
    const call = connection.client.Generate({ text: "One day", stopping: { maxTokens: 256, ignoreEos: true } });
    call.on("error", () => undefined);
    await new Promise((resolve) => call.once("data", resolve));
    call.cancel();
    await eventually("no running request", () => engine.stats().running === 0 && engine.stats().pages.used === 0);
  });
});

describe("gRPC", () => {
  const serveFake = async (options: FakeEngineOptions = {}) => {
    const engine = new FakeEngine(options);
    const served = await serve(engine, { grpcPort: 0 });
    const connection = await generationClient(served.server.grpcAddress, { from: "files" });
    return {
      ...connection,
      engine,
      served,
      [Symbol.asyncDispose]: async () => {
        connection[Symbol.dispose]();
        await served[Symbol.asyncDispose]();
      },
    };
  };

  test.each([
    [{}, status.INVALID_ARGUMENT, "prompt is missing", "REQUEST_INVALID"],
    [{ text: "" }, status.INVALID_ARGUMENT, "text is empty", "REQUEST_INVALID"],
    [{ text: "x", model: "other" }, status.NOT_FOUND, 'model is "other"', "MODEL_NOT_FOUND"],
    [{ text: "x", n: 9 }, status.INVALID_ARGUMENT, "n is 9; it must be at most 8", "REQUEST_INVALID"],
    [{ text: "x", n: 0 }, status.INVALID_ARGUMENT, "n is 0; it must be at least 1", "REQUEST_INVALID"],
    [{ text: "x", logprobs: 21 }, status.INVALID_ARGUMENT, "logprobs is 21; it must be at most 20", "REQUEST_INVALID"],
    [
      { text: "x", sampling: { temperature: -1 } },
      status.INVALID_ARGUMENT,
      "temperature is -1; it must be at least 0",
      "REQUEST_INVALID",
    ],
    [{ text: "x", sampling: { topP: Number.NaN } }, status.INVALID_ARGUMENT, "top_p is", "REQUEST_INVALID"],
    [
      { text: "x", stopping: { maxTokens: 5000 } },
      status.INVALID_ARGUMENT,
      "max_tokens is 5000; it must be at most 1024",
      "CONTEXT_EXCEEDED",
    ],
    [{ tokenIds: { ids: [1, 9999] } }, status.INVALID_ARGUMENT, "token_ids[1] is 9999", "TOKEN_OUT_OF_RANGE"],
    [
      { chat: { messages: [{ role: "ghost", content: "x" }] } },
      status.INVALID_ARGUMENT,
      'messages[0].role is "ghost"',
      "REQUEST_INVALID",
    ],
    [{ text: "x", sampling: { logitBias: { 9999: 1 } } }, status.INVALID_ARGUMENT, "logit_bias", "TOKEN_OUT_OF_RANGE"],
  ])("refuses %j", async (request, code, details, kvantCode) => {
    await using connection = await serveFake();
    const error: unknown = await connection.generate(request).catch((error: unknown) => error);
    expect(error).toMatchObject({ code });
    expect(Reflect.get(Object(error), "details")).toContain(details);
    const metadata: unknown = Reflect.get(Object(error), "metadata");
    expect(metadata instanceof Metadata && metadata.get("kvant-error-code")).toEqual([kvantCode]);
  });

  test("every sampling option reaches the engine", async () => {
    await using connection = await serveFake();
    await connection.generate({
      text: "x",
      n: 2,
      logprobs: 3,
      cacheSalt: "tenant",
      priority: -1,
      sampling: {
        temperature: 0.5,
        topP: 0.9,
        topK: 40,
        minP: 0.05,
        repetitionPenalty: 1.1,
        frequencyPenalty: 0.2,
        presencePenalty: -0.2,
        logitBias: { 260: 5 },
        seed: 7,
      },
      stopping: { maxTokens: 4, minTokens: 1, stop: ["zzz"], stopTokenIds: [3], ignoreEos: true },
    });
    expect(connection.engine.received).toEqual([
      {
        prompt: { kind: "text", text: "x" },
        n: 2,
        logprobs: 3,
        cacheSalt: "tenant",
        priority: -1,
        temperature: 0.5,
        topP: 0.9,
        topK: 40,
        minP: 0.05,
        repetitionPenalty: 1.1,
        frequencyPenalty: 0.2,
        presencePenalty: -0.2,
        logitBias: { 260: 5 },
        seed: 7,
        maxTokens: 4,
        minTokens: 1,
        stop: ["zzz"],
        stopTokenIds: [3],
        ignoreEos: true,
      },
    ]);
  });

  test("options that are absent are left to the engine's defaults", async () => {
    await using connection = await serveFake();
    await connection.generate({ chat: { messages: [{ role: "developer", content: "Be brief." }] } });
    expect(connection.engine.received).toEqual([
      {
        prompt: { kind: "chat", messages: [{ role: "system", content: "Be brief." }], addGenerationPrompt: true },
      },
    ]);
  });

  test("a call past its deadline ends with DEADLINE_EXCEEDED and frees the request", async () => {
    await using connection = await serveFake({ stepMilliseconds: 20 });
    const deadline = new Date(Date.now() + 100);
    await expect(connection.generate({ text: "x", stopping: { maxTokens: 900 } }, { deadline })).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
    await eventually("no running request", () => connection.engine.stats().running === 0);
  });

  test("a full queue is RESOURCE_EXHAUSTED", async () => {
    await using connection = await serveFake({ queueLimit: 0 });
    await expect(connection.generate({ text: "x" })).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: "0 requests wait; the limit is 0",
    });
  });

  test("an engine that dies on the way ends the call with UNAVAILABLE", async () => {
    await using connection = await serveFake({ dieAfterTokens: 3 });
    await expect(connection.generate({ text: "x" })).rejects.toMatchObject({ code: status.UNAVAILABLE });
  });

  test("a reader that pauses gets fewer and longer deltas of the same text", async () => {
    await using connection = await serveFake({ stepMilliseconds: 1 });
    const request = { text: "x", n: 8, logprobs: 20, stopping: { maxTokens: 400 }, sampling: { temperature: 0 } };
    const call = connection.client.Generate(request);
    const tokenIds: number[] = [];
    let messages = 0;
    call.pause();
    call.on("data", (message) => {
      if (message.delta?.index !== 0) return;
      messages++;
      tokenIds.push(...message.delta.tokenIds);
    });
    call.pause();
    await eventually("the engine's pause", () => connection.engine.stats().generationTokens > 800);
    call.resume();
    await new Promise((resolve) => call.once("end", resolve));
    expect(tokenIds.length).toBe(400);
    expect(messages).toBeLessThan(400);
  });

  test("health follows the engine's state and the drain", async () => {
    await using connection = await serveFake();
    const { engine, served } = connection;
    const client = await reflectedClient(served.server.grpcAddress ?? "", "grpc.health.v1.Health", new Metadata());
    const check = () =>
      answered<{ status: string }>((callback) => Reflect.get(client, "check").call(client, { service: "" }, callback));
    expect(await check()).toEqual({ status: "SERVING" });
    engine.setState("restarting");
    expect(await check()).toEqual({ status: "NOT_SERVING" });
    engine.setState("ready");
    expect(await check()).toEqual({ status: "SERVING" });
    client.close();
  });

  test("the Open Inference Protocol's probes answer", async () => {
    await using connection = await serveFake();
    const { served, engine } = connection;
    const client = await reflectedClient(
      served.server.grpcAddress ?? "",
      "inference.GRPCInferenceService",
      new Metadata(),
    );
    const ask = (method: string, request: object) =>
      answered<object>((callback) => Reflect.get(client, method).call(client, request, callback));
    expect(await ask("ServerLive", {})).toEqual({ live: true });
    expect(await ask("ServerReady", {})).toEqual({ ready: true });
    expect(await ask("ModelReady", { name: "fake" })).toEqual({ ready: true });
    await expect(ask("ModelReady", { name: "other" })).rejects.toMatchObject({ code: status.NOT_FOUND });
    expect(await ask("ServerMetadata", {})).toMatchObject({ name: "kvant" });
    expect(await ask("ModelMetadata", { name: "fake" })).toMatchObject({
      name: "fake",
      platform: "kvant",
      properties: expect.arrayContaining([{ key: "weights", value: "int8-channel" }]),
    });
    engine.setState("restarting");
    expect(await ask("ServerReady", {})).toEqual({ ready: false });
    client.close();
  });
});
