import { describe, expect, test } from "vitest";
import { askedByLine, askedByShareGpt } from "./prompt-entries.ts";

const where = "prompts.jsonl: line 7";
const text = (content: string) => ({ kind: "text", text: content });
const user = (content: string) => ({ role: "user", content });

test.each([
  [{ prompt: "a" }, "a"],
  [{ text: "a", answer: "b" }, "a"],
  [{ question: "a", answer: "b" }, "a"],
  [{ question_id: 81, category: "writing", turns: ["a", "b"] }, "a"],
])("a single request of %j asks its first turn", (line, prompt) => {
  expect(askedByLine(line, where, "single")).toEqual({ turns: [text(prompt)] });
});

test("a conversation has all turns of a line", () => {
  expect(askedByLine({ turns: ["a", "b"] }, where, "conversation")).toEqual({ turns: [text("a"), text("b")] });
});

test("messages are one request as they stand but for the answer at their end, or a turn for each of the user", () => {
  const system = { role: "system", content: "s" };
  const messages = [
    system,
    user("a"),
    { role: "assistant", content: "b" },
    user("c"),
    { role: "assistant", content: "d" },
  ];
  expect(askedByLine({ messages }, where, "single")).toEqual({
    turns: [{ kind: "chat", messages: messages.slice(0, 4) }],
  });
  expect(askedByLine({ messages }, where, "conversation")).toEqual({
    turns: [
      { kind: "chat", messages: [system, user("a")] },
      { kind: "chat", messages: [user("c")] },
    ],
  });
});

test("ShareGPT's turns are questions with their answers, whatever else was said", () => {
  const entry = {
    id: "x",
    conversations: [
      { from: "gpt", value: "of an earlier page" },
      { from: "human", value: "never answered" },
      { from: "human", value: "a" },
      { from: "gpt", value: "b" },
      { from: "user", value: "c" },
      { from: "chatgpt", value: "d" },
      { from: "human", value: "e" },
    ],
  };
  expect(askedByShareGpt(entry, where, "conversation")).toEqual({ turns: [text("a"), text("c")], answers: ["b", "d"] });
  expect(askedByShareGpt(entry, where, "single")).toEqual({ turns: [text("a")], answers: ["b"] });
});

test("an entry of ShareGPT without question and answer has nothing to ask", () => {
  expect(askedByShareGpt({ conversations: [] }, where, "single")).toBeUndefined();
  expect(askedByShareGpt({ conversations: [{ from: "human", value: "a" }] }, where, "single")).toBeUndefined();
});

describe("a malformed line is refused with its place and value", () => {
  test.each([
    [["a"], 'line 7 is ["a"], not an object'],
    [{ input: "a" }, 'line 7 has none of messages, turns, prompt, text, question: {"input":"a"}'],
    [{ prompt: 5 }, "line 7: prompt is 5, not a text"],
    [{ prompt: " " }, 'line 7: prompt is " ", not a text'],
    [{ turns: [] }, "line 7: turns is [], not a list with something in it"],
    [{ turns: ["a", null] }, "line 7: turns[1] is null, not a text"],
    [{ messages: [{ role: "robot", content: "a" }] }, "line 7: messages[0] has not a role of system, user, assistant"],
    [{ messages: [{ role: "assistant", content: "a" }] }, "line 7: messages holds none of a user"],
  ])("%j", (line, sentence) => {
    const read = () => askedByLine(line, where, "conversation");
    expect(read).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", field: "datasetFile" }));
    expect(read).toThrow(sentence);
  });

  test.each([
    [{ id: "x" }, "line 7: conversations is undefined, not a list"],
    [
      { conversations: [{ from: "human" }] },
      'line 7: conversations[0] has no strings from and value: {"from":"human"}',
    ],
  ])("%j of ShareGPT", (entry, sentence) => {
    expect(() => askedByShareGpt(entry, where, "single")).toThrow(sentence);
  });
});
