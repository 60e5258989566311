import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type AnswerUsage, ChunkReader, utf8 } from "./answer-chunk.ts";
import { EventStream } from "./event-stream.ts";
import { cut, fixture, fixtureNames } from "./testing/fixture-streams.ts";

interface ReadStream {
  readonly texts: readonly string[];
  readonly tokens: readonly (number | undefined)[];
  readonly usage: AnswerUsage | undefined;
  readonly finishReason: string | undefined;
  readonly error: string | undefined;
  readonly isDone: boolean;
}

function readPieces(pieces: readonly Buffer[]): ReadStream {
  const chunks = new ChunkReader();
  const texts: string[] = [];
  const tokens: (number | undefined)[] = [];
  const events = new EventStream((data, name) => {
    const chunk = chunks.read(data, name);
    if (chunk.text === "") return;
    texts.push(utf8(chunk.text));
    tokens.push(chunk.tokens);
  });
  for (const piece of pieces) events.push(piece);
  events.end();
  const { usage, finishReason, error, isDone } = chunks;
  return { texts, tokens, usage, finishReason, error, isDone };
}

const usage = (promptTokens: number, outputTokens: number, cachedTokens?: number): AnswerUsage => ({
  promptTokens,
  outputTokens,
  cachedTokens,
});

const unknown = undefined;
const ended = { error: undefined, isDone: true };
const expected: Readonly<Record<string, Partial<ReadStream>>> = {
  "kvant-chat": { ...ended, texts: ["The", " sea", " is", " 🌊 wide"], usage: usage(7, 6, 0), finishReason: "length" },
  "llama-recorded-chat": {
    ...ended,
    texts: ['"', "H", "e", "re", "?", '"'],
    usage: usage(46, 6, 0),
    finishReason: "length",
  },
  "llama-recorded-completions": {
    ...ended,
    texts: [",", " there", " was", " a", " little"],
    usage: usage(5, 5, 1),
    finishReason: "length",
  },
  "vllm-chat": {
    ...ended,
    texts: ["Wir", " müssen", ' "jetzt"', " gehen", " – 走吧", "."],
    usage: usage(24, 6, 16),
    finishReason: "length",
  },
  "vllm-recorded-chat": { ...ended, texts: ["Okay", ".", " Sure", "."], usage: undefined, finishReason: "stop" },
  "vllm-recorded-running-usage": {
    ...ended,
    texts: ["Okay", ",", " the", " user is asking", "A", " **", "cow is cool"],
    // Before the first came `<think>` and a line break; what was left out where two answers were joined counts with the next.
    tokens: [3, 1, 1, 1, 442, 1, 1],
    usage: usage(13, 1022),
  },
  "vllm-recorded-reasoning": {
    ...ended,
    texts: [
      ...["\n", "Okay", ",", " let", " me", " try", " to", " figure", " this", " out", ".", ".\n"],
      ...["\n\n", "The", " best", " treatment", " for", " this", " pregnant", " woman", "..."],
    ],
    usage: undefined,
    finishReason: "stop",
  },
  "vllm-recorded-completions": {
    ...ended,
    texts: ["If", " you", " have", " a"],
    usage: undefined,
    finishReason: "stop",
  },
  "vllm-chat-running-usage": {
    ...ended,
    texts: ["One", " two three four", " five", " six seven"],
    tokens: [1, 3, 1, 2],
    usage: usage(24, 7),
  },
  "vllm-reasoning": { ...ended, texts: ["Let", " me", " see", "Four", "."], usage: usage(12, 7), finishReason: "stop" },
  "vllm-completions-multi-token": {
    ...ended,
    texts: [" top", " holiday destination", " with", " a lot to see", "."],
    tokens: [unknown, unknown, unknown, unknown, unknown],
    usage: usage(5, 10),
  },
  "vllm-error": {
    texts: ["One", " two"],
    error: "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    usage: undefined,
  },
  "llama-chat": {
    ...ended,
    texts: ["Hello", " there", ",", " how", " are you"],
    usage: usage(75, 6),
    finishReason: "stop",
  },
  "llama-chat-usage-in-finish": {
    ...ended,
    texts: ["Hello", " there", "!"],
    tokens: [unknown, unknown, unknown],
    usage: usage(75, 4),
    finishReason: "stop",
  },
  "llama-completions": {
    ...ended,
    texts: [" one", " \\two\\", "\n", " three"],
    usage: usage(9, 4),
    finishReason: "length",
  },
  "llama-error-field": {
    texts: ["Hello"],
    error: "the request exceeds the available context size. try increasing the context size or enable context shift",
  },
  "no-usage": { ...ended, texts: ["The", " old man", " looked"], usage: undefined, finishReason: "stop" },
  "no-done": { error: undefined, isDone: false, texts: [" one", " two"], usage: usage(3, 2), finishReason: "stop" },
  "cut-off": { error: undefined, isDone: false, texts: [" one", " two"], usage: undefined, finishReason: undefined },
  "multi-line": { ...ended, texts: [" one", " two", " three"], finishReason: "stop" },
};

test("every fixture has its expectation", () => {
  expect(fixtureNames()).toEqual(Object.keys(expected).sort());
});

test("the answer recorded from vLLM has the digest that its server signed", () => {
  const digest = createHash("sha256").update(fixture("vllm-recorded-chat")).digest("hex");
  expect(digest).toBe("bdcfaa70301ea760ad215a2de31e80b7a69ee920c02a4b97ae05d0798b75fe79");
});

describe.each(Object.entries(expected))("%s", (name, stream) => {
  test("is read the same in one piece and in pieces of any size", () => {
    const bytes = fixture(name);
    for (const size of [bytes.length, 1, 2, 3, 7, 64, 1000]) expect(readPieces(cut(bytes, size))).toMatchObject(stream);
  });

  test("is read the same with CR LF, and with comments between its events", () => {
    const text = fixture(name).toString("utf8");
    const crlf = Buffer.from(text.replaceAll("\n", "\r\n"));
    const commented = Buffer.from(`: ping\n\n${text.replaceAll("\n\n", "\n\n: ping - 2026\n\n:\n")}`);
    for (const bytes of [crlf, commented]) {
      for (const size of [bytes.length, 1, 5]) expect(readPieces(cut(bytes, size))).toMatchObject(stream);
    }
  });
});

describe("a chunk that is like the one before but for its text", () => {
  const chunk = (text: string, rest = "") => `{"id":"a","choices":[{"index":0,"text":${JSON.stringify(text)}${rest}}]}`;

  test("is read as parsing would read it, whatever the text", () => {
    const texts = ["a", "b", "", '"', "\\", '","finish_reason":"stop', "}]}", "é", "\u2028", "a\nb", "c", '\\"', "d"];
    const reader = new ChunkReader();
    for (const text of texts) {
      const latin1 = Buffer.from(chunk(text), "utf8").toString("latin1");
      expect(utf8(reader.read(latin1).text)).toBe(JSON.parse(chunk(text)).choices[0].text);
    }
    expect(reader.finishReason).toBeUndefined();
  });

  test("is parsed again when something else changes", () => {
    const reader = new ChunkReader();
    reader.read(chunk("a", ',"finish_reason":null'));
    reader.read(chunk("b", ',"finish_reason":null'));
    expect(reader.read(chunk("c", ',"finish_reason":"stop"')).text).toBe("c");
    expect(reader.finishReason).toBe("stop");
    expect(reader.read('{"error":{"message":"gone"}}').text).toBe("");
    expect(reader.error).toBe("gone");
  });

  test("is not mistaken where a log probability holds the first text", () => {
    const reader = new ChunkReader();
    const withLogprobs = (text: string, other: string) =>
      `{"choices":[{"index":0,"logprobs":{"content":"${other}"},"delta":{"content":"${text}"},"finish_reason":null}]}`;
    expect(reader.read(withLogprobs("one", "x")).text).toBe("one");
    expect(reader.read(withLogprobs("one", "y")).text).toBe("one");
    expect(reader.read(withLogprobs("two", "y")).text).toBe("two");
  });
});

test("a call of a tool counts as text, and so does a refusal", () => {
  const delta = (value: object) => JSON.stringify({ choices: [{ index: 0, delta: value, finish_reason: null }] });
  const call = { index: 0, id: "c", type: "function", function: { name: "get", arguments: '{"a":' } };
  expect(new ChunkReader().read(delta({ content: null, tool_calls: [call] })).text).toBe('get{"a":');
  expect(new ChunkReader().read(delta({ content: null, refusal: "no" })).text).toBe("no");
});

test("token ids tell the tokens of a chunk, those without text too", () => {
  const chunk = (text: string, ids: readonly number[]) =>
    JSON.stringify({ choices: [{ index: 0, text, token_ids: ids, finish_reason: null }] });
  const reader = new ChunkReader();
  expect(reader.read(chunk("", [7]))).toEqual({ text: "", tokens: 1 });
  expect(reader.read(chunk("ab", [8, 9]))).toEqual({ text: "ab", tokens: 2 });
});

test.each([
  ['{"object":"error","message":"too long","code":400}', "too long"],
  ['{"error":"busy"}', "busy"],
  ['{"error":{"code":7}}', '{"code":7}'],
])("an error of the shape %s is one", (data, sentence) => {
  const reader = new ChunkReader();
  reader.read(data);
  expect(reader.error).toBe(sentence);
});

test("an event that is named an error need not be JSON, any other must", () => {
  const reader = new ChunkReader();
  reader.read("overloaded", "error");
  expect(reader.error).toBe("overloaded");
  expect(() => new ChunkReader().read("<html>")).toThrow(SyntaxError);
});

test("an event without end is refused before it fills the memory", () => {
  const events = new EventStream(() => undefined);
  const piece = Buffer.alloc(1024 * 1024, "a");
  expect(() => {
    for (let i = 0; i < 8; i++) events.push(piece);
  }).toThrow(expect.objectContaining({ code: "REQUEST_TOO_LARGE" }));
});
