import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { calibrationSamples } from "./calibration-text.ts";

const folder = mkdtempSync(join(tmpdir(), "kvant-calibration-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** One token per character: its code. */
const encode = (text: string) => Int32Array.from(text, (character) => character.charCodeAt(0));
const text = file("alphabet.txt", "abcdefghijklmnopqrstuvwxyz");

const take = (changes: Partial<Parameters<typeof calibrationSamples>[0]>, beginning: number | undefined = 0) =>
  calibrationSamples({ files: [text], sampleCount: 3, sampleTokens: 5, seed: 1, ...changes }, encode, beginning);

test("samples are pieces of the text, each led by the beginning of sequence", () => {
  const samples = take({ sampleCount: 6 });
  const pieces = samples.map(([first, ...rest]) => [first, String.fromCharCode(...rest)]);
  expect(pieces.map(([first]) => first)).toEqual([0, 0, 0, 0, 0, 0]);
  expect(pieces.map(([, piece]) => piece).sort()).toEqual(["abcd", "efgh", "ijkl", "mnop", "qrst", "uvwx"]);
});

test("models without a beginning of sequence get text alone", () => {
  const samples = calibrationSamples({ files: [text], sampleCount: 5, sampleTokens: 5, seed: 1 }, encode, undefined);
  expect(samples.map((sample) => String.fromCharCode(...sample)).sort()[0]).toBe("abcde");
});

test("the seed decides which pieces are drawn", () => {
  expect(take({})).toEqual(take({}));
  const draws = new Set([1, 2, 3, 4, 5].map((seed) => JSON.stringify(take({ seed }))));
  expect(draws.size).toBeGreaterThan(1);
});

test("texts follow each other without a gap, lines of JSON among them", () => {
  const lines = file("lines.jsonl", `{"text": "12"}\n\n{"prompt": "345"}\n`);
  const samples = calibrationSamples(
    { files: [lines, file("short.txt", "67")], sampleCount: 1, sampleTokens: 7, seed: 1 },
    encode,
    undefined,
  );
  expect(String.fromCharCode(...samples[0]!)).toBe("1234567");
});

test.each([
  [{ sampleCount: 7 }, "enough text for 6 samples of 5 tokens, not for 7"],
  [{ sampleCount: 0 }, "at least 1 sample, not 0"],
  [{ sampleTokens: 1 }, "at least 2 tokens, not 1"],
  [{ files: [] }, "needs calibration text"],
  [{ files: [join(folder, "absent.txt")] }, "cannot be read (ENOENT)"],
  [{ files: [file("empty.txt", " \n")] }, "holds no text"],
  [{ files: [file("broken.jsonl", `{"text": "a"}\nnonsense`)] }, "line 2 is not JSON"],
  [{ files: [file("other.jsonl", `{"body": "a"}`)] }, 'line 1 has no field "text" or "prompt"'],
  [{ files: [file("none.jsonl", "\n")] }, "holds no lines"],
])("%o is refused", (changes, sentence) => {
  expect(() => take(changes)).toThrow(sentence);
});
