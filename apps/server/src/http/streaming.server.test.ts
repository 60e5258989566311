import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { openStream } from "../testing/bare-stream.ts";
import { FakeEngine } from "../testing/fake-engine.ts";
import { openAiFaults, openAiSchemaAbsence } from "../testing/openai-schema.ts";
import { eventData, eventually, serve } from "../testing/serving.ts";

const completions = "/v1/completions";
const chat = "/v1/chat/completions";
const messages = [{ role: "user", content: "Tell me." }];

interface Chunk {
  readonly choices: readonly {
    readonly index: number;
    readonly text?: string;
    readonly delta?: { readonly content?: string; readonly role?: string };
    readonly finish_reason: string | null;
    readonly logprobs: { readonly tokens: readonly string[]; readonly text_offset: readonly number[] } | null;
  }[];
  readonly usage?: object | null;
}

/** The chunks of a whole stream, which must end with [DONE]. */
async function chunksOf(answer: Response): Promise<Chunk[]> {
  expect(answer.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  const data = eventData(await answer.text());
  expect(data.at(-1)).toBe("[DONE]");
  return data.slice(0, -1).map((text) => JSON.parse(text));
}

describe("a stream", () => {
  test("of completions carries every choice to its end, and usage last when asked", async () => {
    await using served = await serve(new FakeEngine());
    const body = { prompt: ["one", "two"], n: 2, max_tokens: 5, temperature: 0 };
    const { choices } = (await (await served.post(completions, body)).json()) as Chunk;
    const streaming = { ...body, stream: true, stream_options: { include_usage: true } };
    const chunks = await chunksOf(await served.post(completions, streaming));
    for (const { index, text } of choices) {
      const parts = chunks.flatMap((chunk) => chunk.choices.filter((choice) => choice.index === index));
      expect(parts.map((part) => part.text).join("")).toBe(text);
      expect(parts.map((part) => part.finish_reason)).toEqual([...parts.slice(1).map(() => null), "length"]);
    }
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 8, completion_tokens: 20 } });
  });

  test("without include_usage has no usage at all", async () => {
    await using served = await serve(new FakeEngine());
    const chunks = await chunksOf(await served.post(chat, { messages, max_tokens: 3, stream: true }));
    expect(chunks.some((chunk) => "usage" in chunk)).toBe(false);
  });

  test("with echo begins with the prompt, and offsets of log probabilities count from its start", async () => {
    await using served = await serve(new FakeEngine());
    const echoed = await chunksOf(
      await served.post(completions, { prompt: [104, 105], echo: true, max_tokens: 3, stream: true }),
    );
    expect(echoed[0]?.choices[0]?.text).toBe("hi");
    const chunks = await chunksOf(
      await served.post(completions, { prompt: "hi", max_tokens: 4, logprobs: 0, temperature: 0, stream: true }),
    );
    const text = chunks.map(({ choices }) => choices[0]?.text ?? "").join("");
    for (const { choices } of chunks) {
      const { tokens = [], text_offset: offsets = [] } = choices[0]?.logprobs ?? {};
      for (const [place, token] of tokens.entries()) {
        expect([...text].slice(offsets[place]).join("").startsWith(token)).toBe(true);
      }
    }
  });

  test.skipIf(openAiSchemaAbsence !== undefined)(
    openAiSchemaAbsence ?? "and a whole answer match OpenAI's own description of them",
    async () => {
      await using served = await serve(new FakeEngine());
      const body = { messages, max_tokens: 3, logprobs: true, top_logprobs: 2 };
      expect(openAiFaults("CreateChatCompletionResponse", await (await served.post(chat, body)).json())).toEqual([]);
      const streaming = { ...body, stream: true, stream_options: { include_usage: true } };
      for (const chunk of await chunksOf(await served.post(chat, streaming))) {
        expect(openAiFaults("CreateChatCompletionStreamResponse", chunk)).toEqual([]);
      }
      for (const logprobs of [2, null]) {
        const whole = await served.post(completions, { prompt: "x", max_tokens: 3, logprobs });
        expect(openAiFaults("CreateCompletionResponse", await whole.json())).toEqual([]);
      }
      expect(openAiFaults("ListModelsResponse", await (await served.get("/v1/models")).json())).toEqual([]);
      const refused = await served.post(completions, { prompt: 5 });
      expect(openAiFaults("ErrorResponse", await refused.json())).toEqual([]);
      // The check itself can fail.
      expect(openAiFaults("CreateCompletionResponse", { id: 5 })).not.toEqual([]);
    },
  );

  test("that breaks on the way ends with an error event and without [DONE]", async () => {
    await using served = await serve(new FakeEngine({ dieAfterTokens: 3 }));
    const answer = await served.post(completions, { prompt: "x", max_tokens: 9, stream: true });
    expect(answer.status).toBe(200);
    const data = eventData(await answer.text());
    expect(JSON.parse(data.at(-1) ?? "")).toEqual({
      error: {
        message: "the engine process ended while the request was running",
        type: "server_error",
        param: null,
        code: "engine_died",
      },
    });
    await eventually("the log line", () => served.log.some(({ error }) => error === "ENGINE_DIED"));
  });

  test("is kept alive by comments while the first token is awaited", async () => {
    await using served = await serve(new FakeEngine({ prefillMilliseconds: 120 }), { keepAliveMilliseconds: 20 });
    const text = await (await served.post(completions, { prompt: "x", max_tokens: 2, stream: true })).text();
    expect(text.startsWith(": waiting\n\n")).toBe(true);
    expect(eventData(text).at(-1)).toBe("[DONE]");
  });

  test("whose reader pauses is merged into fewer chunks of the same text, and stalls no other", async () => {
    const engine = new FakeEngine({ stepMilliseconds: 1 });
    await using served = await serve(engine);
    const body = { prompt: "x", n: 8, max_tokens: 1000, temperature: 0, ignore_eos: true, logprobs: 20 };
    const slow = openStream(served, completions, { ...body, stream: true });
    await once(slow, "data");
    slow.pause();
    // The sockets' buffers fill, then the server stops pulling.
    const whole = (await (await served.post(completions, body)).json()) as Chunk;
    await eventually("all tokens of both", () => engine.stats().generationTokens >= 8 * 1000);
    let received = "";
    slow.setEncoding("utf8").on("data", (part: string) => {
      received += part;
    });
    slow.resume();
    await once(slow, "end");
    // Chunked transfer coding puts lengths between the events.
    const events = received.split("\n").filter((line) => line.startsWith('data: {"id"'));
    const chunks: Chunk[] = events.map((line) => JSON.parse(line.slice("data: ".length)));
    expect(chunks.length).toBeLessThan(8 * 1000);
    const last = chunks.filter(({ choices }) => choices[0]?.index === 7);
    const text = last.map(({ choices }) => choices[0]?.text ?? "").join("");
    expect(whole.choices[7]?.text?.endsWith(text)).toBe(true);
    expect(last.at(-1)?.choices[0]?.finish_reason).toBe("length");
  });

  test.each([true, false])("whose client leaves frees its request (streamed: %s)", async (stream) => {
    const engine = new FakeEngine({ stepMilliseconds: 2 });
    await using served = await serve(engine);
    const socket = openStream(served, chat, { messages, max_tokens: 900, stream });
    await eventually("tokens", () => engine.stats().generationTokens > 5);
    socket.destroy();
    await eventually("an idle engine", () => engine.stats().running === 0);
    expect(engine.abandoned).toBe(1);
    await eventually("the log line", () => served.log.some(({ status }) => status === 499));
  });

  test("whose reader pauses and then leaves frees its request", async () => {
    const engine = new FakeEngine({ stepMilliseconds: 1 });
    await using served = await serve(engine);
    const body = { prompt: "x", n: 8, max_tokens: 1000, ignore_eos: true, logprobs: 20, stream: true };
    const socket = openStream(served, completions, body);
    await once(socket, "data");
    socket.pause();
    await eventually("tokens", () => engine.stats().generationTokens > 2000);
    socket.destroy();
    await eventually("an idle engine", () => engine.stats().running === 0);
  });
});
