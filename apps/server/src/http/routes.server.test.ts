import Schema from "typebox/schema";
import { describe, expect, test } from "vitest";
import { FakeEngine } from "../testing/fake-engine.ts";
import { serve } from "../testing/serving.ts";
import { version } from "../version.ts";

interface Operation {
  readonly summary: string;
  readonly requestBody?: { readonly content: Record<string, { readonly schema: object }> };
  readonly responses: Record<
    string,
    { readonly description: string; readonly content?: Record<string, { schema: object }> }
  >;
}

describe("/openapi.json", () => {
  test("is an OpenAPI 3.1 document that lists every route", async () => {
    await using served = await serve(new FakeEngine());
    const document = (await (await served.get("/openapi.json")).json()) as {
      openapi: string;
      info: { title: string; version: string };
      paths: Record<string, Record<string, Operation>>;
    };
    expect(document.openapi).toBe("3.1.0");
    expect(document.info).toMatchObject({ title: "Kvant", version });
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => [`${method} ${path}`, operation] as const),
    );
    expect(operations.map(([name]) => name).sort()).toEqual([
      "get /health",
      "get /metrics",
      "get /openapi.json",
      "get /ready",
      "get /v1/models",
      "get /v1/models/{model}",
      "get /version",
      "post /detokenize",
      "post /tokenize",
      "post /v1/chat/completions",
      "post /v1/completions",
    ]);
    for (const [name, { summary, responses, requestBody }] of operations) {
      expect([name, summary.length > 0, "200" in responses]).toEqual([name, true, true]);
      const bodies = [requestBody, ...Object.values(responses)].flatMap((part) => Object.values(part?.content ?? {}));
      // Each schema stands alone and compiles.
      for (const { schema } of bodies) expect(() => Schema.Compile(schema)).not.toThrow();
      for (const { description } of Object.values(responses)) expect(description).toBeTypeOf("string");
    }
  });

  test("describes what the routes accept and answer", async () => {
    await using served = await serve(new FakeEngine());
    const { paths } = (await (await served.get("/openapi.json")).json()) as {
      paths: Record<string, Record<string, Operation>>;
    };
    const operation = paths["/v1/completions"]?.post;
    const accepts = Schema.Compile(operation?.requestBody?.content["application/json"]?.schema ?? {});
    expect(accepts.Check({ prompt: "x", n: 2, temperature: null })).toBe(true);
    expect(accepts.Check({ prompt: "x", n: 9 })).toBe(false);
    const answers = Schema.Compile(operation?.responses["200"]?.content?.["application/json"]?.schema ?? {});
    const answer = await (await served.post("/v1/completions", { prompt: "x", logprobs: 2 })).json();
    expect(answers.Check(answer)).toBe(true);
    const models = Schema.Compile(
      paths["/v1/models"]?.get?.responses["200"]?.content?.["application/json"]?.schema ?? {},
    );
    expect(models.Check(await (await served.get("/v1/models")).json())).toBe(true);
  });
});

describe("token routes", () => {
  test("tokenize and detokenize are each other's inverse", async () => {
    await using served = await serve(new FakeEngine());
    const answer = await served.post("/tokenize", { prompt: "naïve", add_special_tokens: false });
    const { tokens, count, max_model_len } = (await answer.json()) as {
      tokens: number[];
      count: number;
      max_model_len: number;
    };
    expect([count, max_model_len]).toEqual([6, 1024]);
    expect(await (await served.post("/detokenize", { tokens })).json()).toEqual({ prompt: "naïve" });
  });

  test("tokenize adds the markers unless told not to, and lays out messages", async () => {
    await using served = await serve(new FakeEngine());
    const count = async (body: object) =>
      ((await (await served.post("/tokenize", body)).json()) as { count: number }).count;
    expect(await count({ prompt: "ab" })).toBe(3);
    expect(await count({ prompt: "ab", add_special_tokens: false })).toBe(2);
    const messages = [{ role: "user", content: [{ type: "text", text: "ab" }] }];
    const withOpening = await count({ messages });
    expect(await count({ messages, add_generation_prompt: false })).toBe(withOpening - "assistant:".length);
  });
});

describe("/v1/models", () => {
  test("tells what of the model is really quantized", async () => {
    await using served = await serve(new FakeEngine(), { servedModelName: "org/tiny" });
    const model = (await (await served.get("/v1/models/org%2Ftiny")).json()) as object;
    expect(model).toMatchObject({
      id: "org/tiny",
      object: "model",
      max_model_len: 1024,
      kvant: {
        weights: "int8-channel",
        kv_format: "int8",
        tensor_classes: [
          { class: "attention.qkv", format: "int8-channel", is_quantized: true },
          { class: "norm", format: "bf16", is_quantized: false },
        ],
        kv_cache: { page_tokens: 16, page_count: 64, code_bytes: 65536, scale_bytes: 4096 },
      },
    });
  });
});

describe("completion parameters", () => {
  test("all reach the engine under its own names", async () => {
    const engine = new FakeEngine();
    await using served = await serve(engine);
    const sampling = {
      temperature: 0.5,
      top_p: 0.9,
      top_k: -1,
      min_p: 0.1,
      repetition_penalty: 1.1,
      frequency_penalty: 0.1,
      presence_penalty: 0.2,
      logit_bias: { "260": 2 },
      seed: 11,
      stop: "zzz",
      stop_token_ids: [3],
      ignore_eos: true,
      min_tokens: 1,
      n: 2,
      priority: 5,
      cache_salt: "tenant",
    };
    await served.post("/v1/completions", { ...sampling, prompt: [1, 2], max_tokens: 4, best_of: 2, logprobs: 0 });
    const messages = [{ role: "developer", content: "Be brief.", name: "boss" }];
    await served.post("/v1/chat/completions", {
      ...sampling,
      messages,
      max_tokens: 9,
      max_completion_tokens: 4,
      logprobs: true,
    });
    const expected = {
      temperature: 0.5,
      topP: 0.9,
      topK: 0,
      minP: 0.1,
      repetitionPenalty: 1.1,
      frequencyPenalty: 0.1,
      presencePenalty: 0.2,
      logitBias: { 260: 2 },
      seed: 11,
      stop: ["zzz"],
      stopTokenIds: [3],
      ignoreEos: true,
      minTokens: 1,
      maxTokens: 4,
      n: 2,
      priority: 5,
      cacheSalt: "tenant",
      logprobs: 0,
    };
    expect(engine.received).toEqual([
      { ...expected, prompt: { kind: "tokens", tokenIds: [1, 2] } },
      {
        ...expected,
        prompt: {
          kind: "chat",
          messages: [{ role: "system", content: "Be brief.", name: "boss" }],
          addGenerationPrompt: true,
        },
      },
    ]);
  });

  test("that are absent are left to the engine, but for OpenAI's 16 tokens of a plain completion", async () => {
    const engine = new FakeEngine();
    await using served = await serve(engine);
    await served.post("/v1/completions", { prompt: "x" });
    await served.post("/v1/chat/completions", { messages: [{ role: "user", content: "x" }] });
    expect(engine.received).toEqual([
      { prompt: { kind: "text", text: "x" }, maxTokens: 16 },
      { prompt: { kind: "chat", messages: [{ role: "user", content: "x" }], addGenerationPrompt: true } },
    ]);
  });

  test("a stop string ends the text before itself and is named", async () => {
    await using served = await serve(new FakeEngine());
    const whole = (await (await served.post("/v1/completions", { prompt: "x", temperature: 0 })).json()) as {
      choices: [{ text: string }];
    };
    const stop = ` ${whole.choices[0].text.trim().split(" ")[2]}`;
    const answer = await (await served.post("/v1/completions", { prompt: "x", temperature: 0, stop })).json();
    expect(answer).toMatchObject({
      choices: [
        {
          text: whole.choices[0].text.slice(0, whole.choices[0].text.indexOf(stop)),
          finish_reason: "stop",
          stop_reason: stop,
        },
      ],
    });
  });
});
