import { Metadata, Server, ServerCredentials, type ServerWritableStream, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { PlannedRequest } from "../load/planned-request.ts";
import type { RequestRecord } from "../load/request-record.ts";
import { Answer } from "./answer.ts";
import { generationService } from "./generation-service.ts";
import { GrpcTransport } from "./grpc-transport.ts";
import { LoadClock } from "./load-clock.ts";

type Call = ServerWritableStream<Record<string, unknown>, object>;

const server = new Server();
const calls: { readonly request: Record<string, unknown>; readonly metadata: Metadata }[] = [];
let answer: (call: Call) => void;
let port: number;

beforeAll(async () => {
  server.addService((await generationService()).service, {
    Generate: (call: Call) => {
      calls.push({ request: call.request, metadata: call.metadata });
      answer(call);
    },
  });
  port = await new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
});

afterAll(() => server.forceShutdown());

const question: PlannedRequest = { index: 0, prompt: { kind: "text", text: "q" }, maxTokens: 9, isFixedLength: true };

async function ask(request: PlannedRequest = question, history: Parameters<GrpcTransport["send"]>[1] = [], at = port) {
  const transport = await GrpcTransport.open({
    url: `grpc://127.0.0.1:${at}`,
    dialect: "kvant-grpc",
    model: "m",
    apiKey: "k",
  });
  const clock = new LoadClock(process.hrtime.bigint());
  try {
    return await new Promise<{ record: RequestRecord; text: string }>((resolve) => {
      const onEnd = (ended: Answer) => resolve({ record: ended.record(), text: ended.text });
      transport.send(new Answer({ request, dueAt: 0, clock, keepsText: true, onEnd }), history);
    });
  } finally {
    transport.close();
  }
}

test("deltas tell their tokens, and the last message what the request cost", async () => {
  answer = (call) => {
    call.write({ delta: { text: "Grü", tokenIds: [1] } });
    call.write({ delta: { text: "", tokenIds: [2] } });
    call.write({ delta: { text: "ße 走", tokenIds: [3, 4] } });
    call.write({ delta: { text: "!", tokenIds: [] } });
    call.write({ finish: { reason: "FINISH_REASON_LENGTH" } });
    const usage = { promptTokens: 7, cachedTokens: 3, completionTokens: 4 };
    call.write({ done: { usage, timings: { queueSeconds: 0.25, prefillSeconds: 0, decodeSeconds: 0 } } });
    call.end();
  };
  const { record } = await ask();
  expect(record).toMatchObject({
    outputTokens: 4,
    promptTokens: 7,
    cachedTokens: 3,
    countedBy: "usage",
    finishReason: "length",
    queueSeconds: 0.25,
  });
  expect(record.failure).toBeUndefined();
  expect([...record.gapTokens!]).toEqual([1, 2]);
  const { request, metadata } = calls.at(-1)!;
  expect(request).toMatchObject({ model: "m", text: "q", stopping: { maxTokens: 9, ignoreEos: true } });
  expect(metadata.get("authorization")).toEqual(["Bearer k"]);
});

test("asks with text, ids or a conversation, and reads the answer for its next turn", async () => {
  answer = (call) => {
    call.write({ delta: { text: "Grüße", tokenIds: [1] } });
    call.write({ done: { usage: { promptTokens: 1, completionTokens: 1 } } });
    call.end();
  };
  expect((await ask()).text).toBe("Grüße");
  await ask({ ...question, prompt: { kind: "tokens", tokenIds: [5, 6] } });
  expect(calls.at(-1)!.request).toMatchObject({ tokenIds: { ids: [5, 6] } });
  await ask({ ...question, prompt: { kind: "chat", messages: [{ role: "user", content: "b" }] } }, [
    { role: "user", content: "a" },
    { role: "assistant", content: "A" },
  ]);
  const { chat } = calls.at(-1)!.request as { chat: { messages: readonly { content: string }[] } };
  expect(chat.messages.map(({ content }) => content)).toEqual(["a", "A", "b"]);
});

test("failures have their kinds: refused, in the stream, cut off, nobody there", async () => {
  const fail = (code: status, details: string) => (call: Call) =>
    call.emit("error", { code, details, metadata: new Metadata() });
  answer = fail(status.RESOURCE_EXHAUSTED, "queue full");
  expect((await ask()).record.failure).toEqual({
    kind: "status",
    status: status.RESOURCE_EXHAUSTED,
    message: "RESOURCE_EXHAUSTED: queue full",
  });
  answer = (call) => {
    call.write({ delta: { text: "a", tokenIds: [1] } });
    setTimeout(() => fail(status.INTERNAL, "broke")(call), 20);
  };
  expect((await ask()).record).toMatchObject({ outputTokens: 1, failure: { kind: "stream-error" } });
  answer = (call) => {
    call.write({ delta: { text: "a", tokenIds: [1] } });
    call.end();
  };
  expect((await ask()).record.failure).toEqual({ kind: "cut-off", message: "the stream ended after 1 deltas" });
  expect((await ask(question, [], 1)).record.failure?.kind).toBe("connect");
});
