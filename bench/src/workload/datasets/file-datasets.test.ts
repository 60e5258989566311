import { expect, test } from "vitest";
import { take } from "../testing/take.ts";
import { temporaryFile } from "../testing/temporary-file.ts";
import { fileDataset } from "./file-datasets.ts";

const lines = (count: number) =>
  Array.from({ length: count }, (_, i) => JSON.stringify({ prompt: `prompt ${i}` })).join("\n");
const common = { shape: "lines", use: "single", order: "shuffled", outputTokens: { kind: "fixed", value: 9 } } as const;

test("each prompt is asked once before any is asked again, in another order each round", () => {
  const dataset = fileDataset({ ...common, path: temporaryFile("prompts.jsonl", lines(20)) });
  const texts = take(dataset.dialogues(3), 40).map(([ask]) => JSON.stringify(ask!.prompt));
  const [first, second] = [texts.slice(0, 20), texts.slice(20)];
  expect(new Set(first).size).toBe(20);
  expect([...second].sort()).toEqual([...first].sort());
  expect(second).not.toEqual(first);
  expect(take(dataset.dialogues(3), 40).map(([ask]) => JSON.stringify(ask!.prompt))).toEqual(texts);
  expect(take(dataset.dialogues(4), 20).map(([ask]) => JSON.stringify(ask!.prompt))).not.toEqual(first);
});

test("in the order of the file it starts over with the first", () => {
  const dataset = fileDataset({ ...common, order: "file", path: temporaryFile("prompts.jsonl", lines(2)) });
  expect(take(dataset.dialogues(0), 3)).toEqual(
    ["prompt 0", "prompt 1", "prompt 0"].map((text) => [{ prompt: { kind: "text", text }, maxTokens: 9 }]),
  );
});

const shareGpt = JSON.stringify([
  {
    conversations: [
      { from: "human", value: "q".repeat(40) },
      { from: "gpt", value: "a".repeat(81) },
    ],
  },
  { conversations: [{ from: "gpt", value: "hello" }] },
  {
    conversations: [
      { from: "human", value: "é".repeat(100) },
      { from: "gpt", value: "a" },
    ],
  },
]);

test("an answer of ShareGPT may be as long as the recorded one, about 4 bytes a token, and is cut to the limit", () => {
  const path = temporaryFile("sharegpt.json", shareGpt);
  const options = { path, shape: "sharegpt", use: "single", order: "file" } as const;
  const recorded = fileDataset(options);
  expect(take(recorded.dialogues(0), 2).map(([ask]) => ask!.maxTokens)).toEqual([21, 1]);
  expect(recorded.isFixedLength).toBe(false);
  expect(recorded.description).toBe(
    `2 prompts of ${path}, round after round in the file's order, 1 left out without question and answer, answers as long as recorded`,
  );
  const cut = fileDataset({ ...options, maxOutputTokens: 20 });
  expect(take(cut.dialogues(0), 2).map(([ask]) => ask!.maxTokens)).toEqual([20, 1]);
  expect(cut.description).toContain("1 answers cut to 20 tokens");
});

test("texts past the limit are left out and counted", () => {
  const path = temporaryFile("sharegpt.json", shareGpt);
  const dataset = fileDataset({ path, shape: "sharegpt", use: "single", order: "file", maxInputTokens: 10 });
  expect(dataset.description).toContain("1 left out longer than about 10 tokens");
  expect(take(dataset.dialogues(0), 2).map(([ask]) => ask!.maxTokens)).toEqual([21, 21]);
});

test("turns of a conversation are what the user says in a chat", () => {
  const path = temporaryFile("turns.jsonl", JSON.stringify({ turns: ["a", "b"] }));
  const [dialogue] = take(fileDataset({ ...common, use: "conversation", path }).dialogues(0), 1);
  expect(dialogue).toEqual(
    ["a", "b"].map((content) => ({ prompt: { kind: "chat", messages: [{ role: "user", content }] }, maxTokens: 9 })),
  );
});

test("a bad line anywhere is found when the file is opened", () => {
  const path = temporaryFile("prompts.jsonl", `${lines(3)}\n{"prompt": 5}\n`);
  expect(() => fileDataset({ ...common, path })).toThrow(`${path}: line 4: prompt is 5`);
  const broken = temporaryFile("prompts.jsonl", `${lines(3)}\n{"prompt": \n`);
  expect(() => fileDataset({ ...common, path: broken })).toThrow(`${broken}: line 4 is not JSON`);
});

test("a file that leaves nothing to ask is refused with the reasons", () => {
  const empty = temporaryFile("prompts.jsonl", "");
  expect(() => fileDataset({ ...common, path: empty })).toThrow("has no entry that can be used (it is empty)");
  const long = temporaryFile("prompts.jsonl", lines(3));
  expect(() => fileDataset({ ...common, path: long, maxInputTokens: 1 })).toThrow("(3 longer than about 1 tokens)");
});
