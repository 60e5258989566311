import { expect, test } from "vitest";
import { jsonElements } from "./json-elements.ts";
import { temporaryFile } from "./testing/temporary-file.ts";
import { textLines } from "./text-lines.ts";

const numbered = (content: string | Buffer) =>
  [...textLines(temporaryFile("lines.txt", content), "datasetFile")].map(({ number, text }) => [number, text]);

test("lines are numbered as an editor numbers them, blank ones left out", () => {
  expect(numbered("a\n\n b \n \nc")).toEqual([
    [1, "a"],
    [3, " b "],
    [5, "c"],
  ]);
  expect(numbered("")).toEqual([]);
});

test("a byte-order mark and carriage returns are no text", () => {
  expect(numbered("\uFEFFa\r\nb\r\n")).toEqual([
    [1, "a"],
    [2, "b"],
  ]);
});

test("each line lies where it says, also past the first piece that is read", () => {
  // Lines of 1 to 20,000 bytes; é and 😀 fall on the ends of pieces of 256 kB.
  const content = `\uFEFF${Array.from({ length: 100 }, (_, i) => "é😀x".repeat(1 + ((i * 7919) % 3000))).join("\r\n")}`;
  const bytes = Buffer.from(content);
  const lines = [...textLines(temporaryFile("lines.txt", content), "datasetFile")];
  expect(lines.map(({ text }) => text)).toEqual(content.slice(1).split("\r\n"));
  for (const { offset, byteLength, text } of lines) {
    expect(bytes.subarray(offset, offset + byteLength).toString("utf8")).toBe(text);
  }
});

test("bytes that are no UTF-8 are refused with their line", () => {
  expect(() => numbered(Buffer.of(0x61, 0x0a, 0xff, 0x62))).toThrow('line 2 is not UTF-8 text: "ÿb"');
});

test("a file that is not there and one that is a folder are refused with the reason", () => {
  expect(() => [...textLines("/nowhere/lines.txt", "datasetFile")]).toThrow(
    expect.objectContaining({
      code: "INVALID_ARGUMENT",
      field: "datasetFile",
      message: "/nowhere/lines.txt: cannot be read (ENOENT)",
    }),
  );
  expect(() => [...textLines("/", "datasetFile")]).toThrow("/: cannot be read (EISDIR)");
});

const elements = (content: string) => [...jsonElements(temporaryFile("array.json", content), "datasetFile")];

test("the objects of an array are found whatever their strings hold", () => {
  const objects = [{ a: '{"}\\' }, { b: { c: [{ d: "]" }] } }, {}, { e: 'é"\n' }];
  const found = elements(`\uFEFF${JSON.stringify(objects, undefined, 1)}\n`);
  expect(found.map(({ text }) => JSON.parse(text))).toEqual(objects);
  expect(found.map(({ line }) => line)).toEqual([2, 5, 14, 15]);
  expect(elements("[]")).toEqual([]);
});

test("each object lies where it says, also past the first piece that is read", () => {
  const objects = Array.from({ length: 60 }, (_, i) => ({ i, text: 'é😀"\\{'.repeat(1 + ((i * 7919) % 3000)) }));
  const content = JSON.stringify(objects);
  const bytes = Buffer.from(content);
  const found = elements(content);
  expect(found.map(({ text }) => JSON.parse(text))).toEqual(objects);
  for (const { offset, byteLength, text } of found) {
    expect(bytes.subarray(offset, offset + byteLength).toString("utf8")).toBe(text);
  }
});

test.each([
  ['{"a": 1}', 'line 1: it has "{\\"a\\": 1}"'],
  ['[{"a": 1},\n 2]', 'line 2: it has "2]"'],
  ['[{"a": 1},\n{"b": ', "line 2: the file ends there"],
  ["[] []", 'line 1: it has "[]"'],
  ["", "line 1: the file ends there"],
])("%j is no array of objects", (content, sentence) => {
  expect(() => elements(content)).toThrow(sentence);
});
