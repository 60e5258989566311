import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FakeEngine, type FakeEngineOptions } from "../testing/fake-engine.ts";
import { type Served, serve } from "../testing/serving.ts";

const completions = "/v1/completions";
const chat = "/v1/chat/completions";
const user = { role: "user", content: "x" };

interface ErrorAnswer {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

/** route, body, status, `param`, parts of the message */
type BadInput = [route: string, body: unknown, status: number, param: string | null, ...parts: string[]];

const badInputs: BadInput[] = [
  // Prompts.
  [completions, {}, 400, "prompt", "prompt is missing"],
  [completions, { prompt: null }, 400, "prompt", "prompt is null", "a string, a list of strings"],
  [completions, { prompt: 5 }, 400, "prompt", "prompt is 5"],
  [completions, { prompt: {} }, 400, "prompt", "prompt is an object"],
  [completions, { prompt: "" }, 400, "prompt", "prompt is empty"],
  [completions, { prompt: [] }, 400, "prompt", "prompt is an empty list"],
  [completions, { prompt: [""] }, 400, "prompt[0]", "prompt[0] is empty"],
  [completions, { prompt: ["a", 5] }, 400, "prompt", "prompt is a list of 2", "a list of token ids"],
  [completions, { prompt: [1, 2.5] }, 400, "prompt", "prompt is a list of 2"],
  [completions, { prompt: [[]] }, 400, "prompt[0]", "prompt[0] is an empty list"],
  [completions, { prompt: [1, 100000] }, 400, "prompt[1]", "prompt[1] is 100000", "between 0 and 272"],
  [completions, { prompt: [[1], [2, -1]] }, 400, "prompt[1][1]", "prompt[1][1] is -1", "between 0 and 272"],
  [completions, { prompt: Array(129).fill("a") }, 400, "prompt", "holds 129 prompts", "at most 128"],
  [completions, { prompt: Array(1024).fill(1) }, 400, "prompt", "has 1024 tokens", "fewer than 1024"],
  [completions, { prompt: "a".repeat(2000) }, 400, "prompt", "2001 tokens", "1024"],
  // Counts.
  [completions, { prompt: "a", max_tokens: 0 }, 400, "max_tokens", "max_tokens is 0", "at least 1"],
  [completions, { prompt: "a", max_tokens: -5 }, 400, "max_tokens", "max_tokens is -5", "at least 1"],
  [completions, { prompt: "a", max_tokens: 1e9 }, 400, "max_tokens", "max_tokens is 1000000000", "at most 1024"],
  [completions, { prompt: "a", max_tokens: 1.5 }, 400, "max_tokens", "max_tokens is 1.5", "an integer"],
  [completions, { prompt: "a", max_tokens: "5" }, 400, "max_tokens", 'max_tokens is "5"', "an integer"],
  [completions, '{"prompt":"a","max_tokens":1e999}', 400, "max_tokens", "max_tokens is"],
  [completions, { prompt: "a", n: 0 }, 400, "n", "n is 0", "at least 1"],
  [completions, { prompt: "a", n: 9 }, 400, "n", "n is 9", "at most 8"],
  [completions, { prompt: "a", n: 1e12 }, 400, "n", "n is 1000000000000", "at most 8"],
  [completions, { prompt: "a", best_of: 3 }, 400, "best_of", "best_of is 3", "must equal n, 1"],
  [completions, { prompt: "a", min_tokens: 20 }, 400, "min_tokens", "min_tokens is 20", "at most max_tokens, 16"],
  [completions, { prompt: "a", min_tokens: -1 }, 400, "min_tokens", "at least 0"],
  [completions, { prompt: "a", logprobs: 21 }, 400, "logprobs", "logprobs is 21", "at most 20"],
  [completions, { prompt: "a", logprobs: true }, 400, "logprobs", "logprobs is true", "an integer"],
  [completions, { prompt: "a", echo: true, logprobs: 1 }, 400, "logprobs", "with echo"],
  // Sampling.
  [completions, { prompt: "a", temperature: -0.1 }, 400, "temperature", "temperature is -0.1", "at least 0"],
  [completions, { prompt: "a", temperature: 2.5 }, 400, "temperature", "temperature is 2.5", "at most 2"],
  [completions, { prompt: "a", temperature: "hot" }, 400, "temperature", 'temperature is "hot"', "a number"],
  [completions, { prompt: "a", top_p: 0 }, 400, "top_p", "top_p is 0", "greater than 0"],
  [completions, { prompt: "a", top_p: 1.1 }, 400, "top_p", "at most 1"],
  [completions, { prompt: "a", top_k: -2 }, 400, "top_k", "top_k is -2", "at least -1"],
  [completions, { prompt: "a", min_p: 2 }, 400, "min_p", "at most 1"],
  [completions, { prompt: "a", repetition_penalty: 0 }, 400, "repetition_penalty", "greater than 0"],
  [completions, { prompt: "a", frequency_penalty: 3 }, 400, "frequency_penalty", "at most 2"],
  [completions, { prompt: "a", presence_penalty: -3 }, 400, "presence_penalty", "at least -2"],
  [completions, { prompt: "a", seed: 0.5 }, 400, "seed", "seed is 0.5", "an integer"],
  [completions, { prompt: "a", seed: 2 ** 60 }, 400, "seed", "at most 9007199254740991"],
  [completions, { prompt: "a", logit_bias: [] }, 400, "logit_bias", "logit_bias is an empty list", "an object"],
  [completions, { prompt: "a", logit_bias: { 5: 101 } }, 400, "logit_bias[5]", "is 101", "at most 100"],
  [completions, { prompt: "a", logit_bias: { 5: "x" } }, 400, "logit_bias[5]", 'is "x"', "a number"],
  [completions, { prompt: "a", logit_bias: { x: 1 } }, 400, "logit_bias", 'logit_bias is "x"', "token ids"],
  [completions, { prompt: "a", logit_bias: { 5000: 1 } }, 400, "logit_bias", "logit_bias is 5000", "0 and 272"],
  [
    completions,
    { prompt: "a", logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, id) => [id, 0])) },
    400,
    "logit_bias",
    "at most 1024 entries",
  ],
  // Stopping.
  [completions, { prompt: "a", stop: 5 }, 400, "stop", "stop is 5", "at most 16 strings of at most 256 bytes"],
  [completions, { prompt: "a", stop: "" }, 400, "stop", "must not be empty"],
  [completions, { prompt: "a", stop: ["a", ""] }, 400, "stop[1]", "stop[1]", "must not be empty"],
  [completions, { prompt: "a", stop: Array(17).fill("s") }, 400, "stop", "a list of 17", "at most 16"],
  [completions, { prompt: "a", stop: "é".repeat(129) }, 400, "stop", "258 bytes", "at most 256"],
  [completions, { prompt: "a", stop_token_ids: [300] }, 400, "stop_token_ids[0]", "is 300", "between 0 and 272"],
  [completions, { prompt: "a", stop_token_ids: Array(65).fill(1) }, 400, "stop_token_ids", "at most 64"],
  [completions, { prompt: "a", ignore_eos: "yes" }, 400, "ignore_eos", 'ignore_eos is "yes"', "a boolean"],
  // Service.
  [completions, { prompt: "a", priority: 1e7 }, 400, "priority", "at most 1000000"],
  [completions, { prompt: "a", cache_salt: "" }, 400, "cache_salt", "at least 1 character long"],
  [completions, { prompt: "a", cache_salt: "s".repeat(257) }, 400, "cache_salt", "at most 256 characters"],
  [completions, { prompt: "a", stream: "yes" }, 400, "stream", "a boolean"],
  [completions, { prompt: "a", stream_options: { include_usage: true } }, 400, "stream_options", "unless stream"],
  [
    completions,
    { prompt: "a", stream: true, stream_options: { include_usage: 1 } },
    400,
    "stream_options.include_usage",
  ],
  [completions, { prompt: "a", suffix: "z" }, 400, "suffix", 'suffix is "z"', "fills in the middle"],
  [completions, { prompt: "a", model: "gpt-9" }, 404, "model", 'model is "gpt-9"', '"fake"'],
  [completions, { prompt: "a", model: 7 }, 400, "model", "model is 7", "a string"],
  // Chat.
  [chat, {}, 400, "messages", "messages is missing"],
  [chat, { messages: "hi" }, 400, "messages", 'messages is "hi"', "an array"],
  [chat, { messages: [] }, 400, "messages", "messages is an empty list", "at least 1"],
  [chat, { messages: ["hi"] }, 400, "messages[0]", 'messages[0] is "hi"', "an object"],
  [chat, { messages: [{ content: "x" }] }, 400, "messages[0].role", "messages[0].role is missing"],
  [chat, { messages: [{ role: "ghost", content: "x" }] }, 400, "messages[0].role", '"ghost"', '"assistant"'],
  [chat, { messages: [{ role: "user" }] }, 400, "messages[0].content", "messages[0].content is missing"],
  [chat, { messages: [{ role: "user", content: 5 }] }, 400, "messages[0].content", "a list of text parts"],
  [
    chat,
    { messages: [user, { role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
    400,
    "messages[1].content[0].type",
    '"image_url"',
  ],
  [chat, { messages: [{ role: "user", content: [{ type: "text" }] }] }, 400, "messages[0].content[0].text", "missing"],
  [chat, { messages: [{ role: "assistant", tool_calls: [{}] }] }, 400, "messages[0].tool_calls", "not served"],
  [chat, { messages: [user], tools: [{ type: "function" }] }, 400, "tools", "tools is a list of 1"],
  [chat, { messages: [user], response_format: { type: "json_object" } }, 400, "response_format", "only"],
  [chat, { messages: [user], top_logprobs: 2 }, 400, "top_logprobs", "needs logprobs to be true"],
  [chat, { messages: [user], logprobs: true, top_logprobs: 21 }, 400, "top_logprobs", "at most 20"],
  [chat, { messages: [user], max_completion_tokens: 0 }, 400, "max_completion_tokens", "at least 1"],
  [chat, { messages: [user], max_completion_tokens: 5000 }, 400, "max_tokens", "5000", "at most 1024"],
  [chat, { messages: Array(4097).fill(user) }, 400, "messages", "a list of 4097", "at most 4096"],
  // Token routes.
  ["/tokenize", {}, 400, "prompt", "prompt and messages are missing"],
  ["/tokenize", { prompt: "a", messages: [user] }, 400, "prompt", "both given"],
  ["/tokenize", { prompt: 5 }, 400, "prompt", "prompt is 5", "a string"],
  ["/tokenize", { prompt: "a", model: "other" }, 404, "model", '"other"'],
  ["/detokenize", {}, 400, "tokens", "tokens is missing"],
  ["/detokenize", { tokens: [1, 999] }, 400, "tokens[1]", "tokens[1] is 999", "between 0 and 272"],
  ["/detokenize", { tokens: ["a"] }, 400, "tokens[0]", 'tokens[0] is "a"', "an integer"],
  // Bodies.
  [completions, "{", 400, null, "not valid JSON"],
  [completions, '{"prompt":"a"} trailing', 400, null, "not valid JSON"],
  [completions, "", 400, null, "body is empty"],
  [completions, "[]", 400, null, "the request body is an empty list", "an object"],
  [completions, "null", 400, null, "the request body is null", "an object"],
  [completions, '"text"', 400, null, "the request body is", "an object"],
  [completions, '{"__proto__":{"x":1},"prompt":"a"}', 400, null, "not valid JSON"],
  [completions, { prompt: "a".repeat(2 * 1024 * 1024) }, 413, null, "limit of 2097152 bytes"],
  ["/v1/nothing", {}, 404, null, "POST /v1/nothing is not served"],
];

describe("bad input", () => {
  const engine = new FakeEngine();
  let served: Served;
  beforeAll(async () => {
    served = await serve(engine);
  });
  afterAll(() => served[Symbol.asyncDispose]());

  test.each(badInputs)("POST %s %j is refused with %i", async (...input: BadInput) => {
    const [route, body, status, param, ...parts] = input;
    const answer = await served.post(route, body);
    const { error } = (await answer.json()) as ErrorAnswer;
    expect([answer.status, error.param]).toEqual([status, param]);
    for (const part of parts) expect(error.message).toContain(part);
    expect(error.type).toBe("invalid_request_error");
    expect(engine.stats().running).toBe(0);
    // It is still there.
    expect((await served.get("/health")).status).toBe(200);
  });

  const refusals: readonly [string, FakeEngineOptions, number, string, string | null][] = [
    ["a full queue", { queueLimit: 0 }, 429, "queue_full", "1"],
    ["an engine that is restarting", { state: "restarting" }, 503, "engine_not_ready", "2"],
    ["an engine that is starting", { state: "starting" }, 503, "engine_not_ready", "2"],
    ["an engine that drains", { state: "draining" }, 503, "shutting_down", "10"],
    ["an engine that dies", { dieAfterTokens: 2 }, 503, "engine_died", "2"],
    ["a model without a tokenizer", { hasTokenizer: false }, 400, "tokenizer_absent", null],
  ];

  test.each(refusals)("%s is told by status, code and Retry-After", async (_, options, status, code, retryAfter) => {
    await using served = await serve(new FakeEngine(options));
    const answer = await served.post(completions, { prompt: "a" });
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([status, retryAfter]);
    expect(((await answer.json()) as ErrorAnswer).error.code).toBe(code);
  });

  test("a stream that is refused before its first token is answered with a status, not an event", async () => {
    await using served = await serve(new FakeEngine({ queueLimit: 0 }));
    const answer = await served.post(chat, { messages: [user], stream: true });
    expect([answer.status, answer.headers.get("content-type")]).toEqual([429, "application/json; charset=utf-8"]);
  });

  test("the wrong method is 405 with Allow, whatever the body", async () => {
    await using served = await serve(new FakeEngine());
    const answer = await fetch(`${served.url}${completions}`, { method: "PUT", body: "{" });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "POST"]);
    expect(((await answer.json()) as ErrorAnswer).error.code).toBe("method_not_allowed");
    expect((await served.post("/metrics", {})).headers.get("allow")).toBe("GET, HEAD");
  });

  test("a path that cannot be decoded, or is absurdly long, is refused in the same shape", async () => {
    for (const path of ["/v1/models/%zz", `/v1/models/${"m".repeat(600)}`]) {
      const answer = await served.get(path);
      expect([400, 404, 414]).toContain(answer.status);
      expect(((await answer.json()) as ErrorAnswer).error.type).toBe("invalid_request_error");
    }
  });

  test("a body that does not say it is JSON is 415", async () => {
    await using served = await serve(new FakeEngine());
    const answer = await served.post(completions, '{"prompt":"a"}', { "content-type": "text/plain" });
    expect(answer.status).toBe(415);
    expect(((await answer.json()) as ErrorAnswer).error.message).toContain("application/json");
  });

  test("headers beyond the limit are 431 in the same shape", async () => {
    await using served = await serve(new FakeEngine());
    const { status, body } = await new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
      const request = httpRequest(
        `${served.url}/health`,
        { headers: { "x-large": "h".repeat(20_000) } },
        (response) => {
          let body = "";
          response.setEncoding("utf8").on("data", (text: string) => {
            body += text;
          });
          response.on("end", () => resolve({ status: response.statusCode, body }));
        },
      );
      request.on("error", reject).end();
    });
    expect(status).toBe(431);
    expect(JSON.parse(body).error.message).toContain("16384 bytes");
  });

  test("bytes that are not HTTP are 400 and close the connection", async () => {
    await using served = await serve(new FakeEngine());
    const { port, hostname } = new URL(served.url);
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => socket.write("\x16\x03\x01 this is TLS\r\n\r\n"));
      let received = "";
      socket.setEncoding("utf8").on("data", (part: string) => {
        received += part;
      });
      socket.on("end", () => resolve(received)).on("error", reject);
    });
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text).toContain("the request is not HTTP/1.1");
  });

  test("fields that no one knows are ignored, as OpenAI's clients send many", async () => {
    await using served = await serve(new FakeEngine());
    const answer = await served.post(chat, {
      messages: [{ ...user, future: 1 }],
      user: "me",
      service_tier: "auto",
      metadata: { a: "b" },
      parallel_tool_calls: true,
      tools: [],
      response_format: { type: "text" },
      temperature: null,
      stop: null,
      max_tokens: 2,
    });
    expect(answer.status).toBe(200);
  });
});
