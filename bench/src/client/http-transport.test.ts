import type { ServerResponse } from "node:http";
import { createServer } from "node:net";
import { describe, expect, test } from "vitest";
import type { ChatMessage, PlannedRequest } from "../load/planned-request.ts";
import type { RequestRecord } from "../load/request-record.ts";
import { Answer } from "./answer.ts";
import { HttpTransport, requestBody } from "./http-transport.ts";
import { LoadClock } from "./load-clock.ts";
import type { LoadTarget } from "./load-target.ts";
import type { Cancel } from "./load-transport.ts";
import { cut, fixture } from "./testing/fixture-streams.ts";
import { replayServer, stream } from "./testing/replay-server.ts";

const question: PlannedRequest = {
  index: 3,
  prompt: { kind: "text", text: "What is the sea?" },
  promptTokens: 5,
  maxTokens: 16,
  isFixedLength: true,
};

interface AskOptions {
  readonly request?: PlannedRequest;
  readonly history?: readonly ChatMessage[];
  readonly onSent?: (cancel: Cancel) => void;
}

class Client {
  readonly #transport: HttpTransport;
  readonly #clock = new LoadClock(process.hrtime.bigint());
  text = "";

  constructor(url: string, dialect: LoadTarget["dialect"] = "openai-chat") {
    this.#transport = new HttpTransport({ url, dialect, model: "m" });
  }

  ask({ request = question, history = [], onSent }: AskOptions = {}): Promise<RequestRecord> {
    return new Promise((resolve) => {
      const onEnd = (answer: Answer): void => {
        this.text = answer.text;
        resolve(answer.record());
      };
      const answer = new Answer({ request, dueAt: this.#clock.now(), clock: this.#clock, keepsText: true, onEnd });
      const cancel = this.#transport.send(answer, history);
      onSent?.(cancel);
    });
  }

  [Symbol.dispose](): void {
    this.#transport.close();
  }
}

async function answerOf(answer: (response: ServerResponse, number: number) => void, options?: AskOptions) {
  await using server = await replayServer(answer);
  using client = new Client(server.url);
  const record = await client.ask(options);
  return { record, text: client.text };
}

const replayed = (name: string, size = 50) => answerOf((response) => void stream(response, cut(fixture(name), size)));

describe("an answer", () => {
  test("has a first token when the first text came, a gap for each chunk after it, and the server's counts", async () => {
    const { record, text } = await replayed("vllm-chat");
    expect(record).toMatchObject({
      index: 3,
      outputTokens: 6,
      promptTokens: 24,
      cachedTokens: 16,
      countedBy: "usage",
      finishReason: "length",
    });
    expect(record.failure).toBeUndefined();
    expect(text).toBe('Wir müssen "jetzt" gehen – 走吧.');
    expect(record.gaps).toHaveLength(5);
    const sum = record.gaps.reduce((total, gap) => total + gap, 0);
    expect(record.firstTokenAt! + sum).toBeCloseTo(record.lastTokenAt!, 5);
    expect(record.dueAt).toBeLessThanOrEqual(record.sentAt);
    expect(record.sentAt).toBeLessThan(record.firstTokenAt!);
    expect(record.lastTokenAt!).toBeLessThanOrEqual(record.endedAt);
  });

  test("has the tokens of each chunk where a usage runs along", async () => {
    const { record } = await replayed("vllm-chat-running-usage");
    expect(record).toMatchObject({ outputTokens: 7, countedBy: "usage" });
    expect([...record.gapTokens!]).toEqual([3, 1, 2]);
  });

  test("without usage is counted by chunks, and by the tokenizer where there is one", async () => {
    const { record } = await replayed("no-usage");
    expect(record).toMatchObject({ outputTokens: 3, countedBy: "chunks", promptTokens: 5 });
    const clock = new LoadClock(process.hrtime.bigint());
    const answer = new Answer({ request: question, dueAt: 0, clock, keepsText: true, onEnd: () => undefined });
    answer.chunk("The", undefined);
    answer.chunk(" old man", undefined);
    answer.end();
    expect(answer.record((text) => text.split(" ").length)).toMatchObject({ outputTokens: 3, countedBy: "tokenizer" });
  });

  test("that ends with a finish reason and without [DONE] is whole", async () => {
    const { record } = await replayed("no-done");
    expect(record.failure).toBeUndefined();
    expect(record.outputTokens).toBe(2);
  });

  test("that is whole stays so when the connection is cancelled or broken after its end", async () => {
    const { record } = await answerOf((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(fixture("vllm-chat"));
      setTimeout(() => response.destroy(), 20);
    });
    expect(record.failure).toBeUndefined();
    expect(record.outputTokens).toBe(6);
  });
});

test("a stream that the server leaves open after its end mark ends, and so does its connection", async () => {
  await using server = await replayServer((response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(fixture("vllm-chat"));
  });
  using client = new Client(server.url);
  const record = await client.ask();
  expect(record.failure).toBeUndefined();
  expect(record.outputTokens).toBe(6);
  await expect.poll(() => server.sockets[0]!.destroyed).toBe(true);
});

test("a stream that the server leaves open after an error holds no connection", async () => {
  await using server = await replayServer((response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(fixture("vllm-error"));
  });
  using client = new Client(server.url);
  expect((await client.ask()).failure?.kind).toBe("stream-error");
  await expect.poll(() => server.sockets[0]!.destroyed).toBe(true);
});

describe("a failure", () => {
  test("is an error inside the stream, with what came before it", async () => {
    const { record } = await replayed("vllm-error");
    expect(record).toMatchObject({
      outputTokens: 2,
      failure: { kind: "stream-error", message: expect.stringContaining("EngineCore encountered an issue") },
    });
  });

  test("is a stream without its end mark", async () => {
    const { record } = await replayed("cut-off");
    expect(record.failure).toEqual({
      kind: "cut-off",
      message: "the stream ended after 2 chunks without [DONE] or a finish reason",
    });
  });

  test("is a connection that breaks inside the stream", async () => {
    const { record } = await answerOf((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(fixture("cut-off"));
      setTimeout(() => response.socket?.resetAndDestroy(), 20);
    });
    expect(record.failure).toMatchObject({
      kind: "cut-off",
      message: expect.stringMatching(/after 2 chunks as the conn/),
    });
    expect(record.outputTokens).toBe(2);
  });

  test.each([
    [429, "application/json", '{"error":{"message":"queue is full","type":"x"}}', "status 429: queue is full"],
    [400, "application/json", '{"object":"error","message":"too long"}', "status 400: too long"],
    [422, "application/json", '{"detail":"no such field"}', "status 422: no such field"],
    [
      502,
      "text/html",
      "<html><head><title>502</title><style>a{}</style></head><body><h1>Bad&nbsp;Gateway</h1>nginx</body></html>",
      "status 502: Bad&nbsp;Gateway nginx",
    ],
    [503, "text/plain", "", "status 503: without a body"],
  ])("is status %i with its sentence out of %s", async (status, type, body, message) => {
    const { record } = await answerOf((response) => {
      response.writeHead(status, { "content-type": type });
      response.end(body);
    });
    expect(record.failure).toEqual({ kind: "status", status, message });
    expect(record.firstTokenAt).toBeUndefined();
  });

  test("is 200 without a stream, and a stream that is not JSON", async () => {
    const plain = await answerOf((response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"choices":[]}');
    });
    expect(plain.record.failure).toMatchObject({
      kind: "protocol",
      message: expect.stringContaining("application/json"),
    });
    const garbage = await answerOf((response) => void stream(response, [Buffer.from("data: <html>\n\n")]));
    expect(garbage.record.failure).toMatchObject({ kind: "protocol" });
  });

  test("is a port where nobody listens", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await new Promise((resolve) => server.close(resolve));
    using client = new Client(`http://127.0.0.1:${port}`);
    const { failure } = await client.ask();
    expect(failure).toMatchObject({ kind: "connect", message: expect.stringContaining("ECONNREFUSED") });
  });

  test("is one that the caller declares, while headers are waited for too", async () => {
    const failure = { kind: "deadline", message: "too slow" } as const;
    const { record } = await answerOf(() => undefined, { onSent: (cancel) => setTimeout(() => cancel(failure), 20) });
    expect(record.failure).toEqual(failure);
  });
});

test("connections are kept, and a request on one that the server had just closed is sent again", async () => {
  await using server = await replayServer((response, number, request) => {
    // The second request finds the connection closed under it: it was read, but never answered.
    if (number === 1) request.socket.resetAndDestroy();
    else void stream(response, [fixture("vllm-chat")]);
  });
  using client = new Client(server.url);
  expect((await client.ask()).failure).toBeUndefined();
  expect((await client.ask()).failure).toBeUndefined();
  expect((await client.ask()).failure).toBeUndefined();
  expect(server.requests).toHaveLength(4);
  expect(server.sockets).toHaveLength(2);
});

describe("the request", () => {
  const chat: LoadTarget = { url: "http://h", dialect: "openai-chat", model: "m" };

  test("asks for a stream with usage, greedily, for as many tokens as planned", () => {
    expect(requestBody(chat, question, [])).toEqual({
      model: "m",
      messages: [{ role: "user", content: "What is the sea?" }],
      max_tokens: 16,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      ignore_eos: true,
    });
  });

  test("carries what was said before in its conversation", () => {
    const history = [
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello" },
    ] as const;
    expect(requestBody(chat, question, history).messages).toEqual([
      ...history,
      { role: "user", content: "What is the sea?" },
    ]);
  });

  test("gives token ids to completions, and lets the caller's fields win", () => {
    const request: PlannedRequest = { ...question, prompt: { kind: "tokens", tokenIds: [5, 6] }, isFixedLength: false };
    const target: LoadTarget = {
      ...chat,
      dialect: "openai-completions",
      temperature: 1,
      extraBody: { seed: 1, stream_options: null },
    };
    expect(requestBody(target, request, [])).toEqual({
      model: "m",
      prompt: [5, 6],
      max_tokens: 16,
      temperature: 1,
      stream: true,
      stream_options: null,
      seed: 1,
    });
  });
});

test("a request goes on over a new connection when the server has closed every kept one", async () => {
  // Each connection answers once, stays open until it is used again, and is then closed without a word.
  const body = fixture("llama-recorded-completions");
  const head = `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${body.length}\r\n\r\n`;
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    let isUsed = false;
    socket.on("error", () => undefined);
    socket.on("data", () => {
      if (isUsed) socket.resetAndDestroy();
      else socket.write(Buffer.concat([Buffer.from(head), body]));
      isUsed = true;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  {
    using client = new Client(`http://127.0.0.1:${port}`, "openai-completions");
    const first = await Promise.all([client.ask(), client.ask(), client.ask()]);
    const second = await client.ask();
    for (const record of [...first, second]) expect(record).toMatchObject({ outputTokens: 5, countedBy: "usage" });
    expect([...first, second].map(({ failure }) => failure)).toEqual(new Array(4).fill(undefined));
  }
  expect(connections).toBe(4);
  await new Promise((resolve) => server.close(resolve));
});
