import { expect, test } from "vitest";
import { TextFrame } from "./text-frame.ts";

const texts = [
  "",
  " the",
  '"\\/\b\n\r\t\u0000\u001f\u007f',
  "é",
  "\u2028\u2029",
  "\u{1F680}",
  "\uD83D",
  "\uDE80x",
  "\uFEFF한국어",
];

test.each([
  ["ASCII", ['{"text":', ""], "}\n\n"],
  ["more than ASCII", ['{"model":"ü\u{1F680}",', '"text":'], ',"m":"é"}\n\n'],
])("an event and its length are those of the text as JSON, between %s", (_, opening, closing) => {
  const frame = new TextFrame(opening, closing);
  for (const text of texts) {
    const json = JSON.stringify(text);
    const event = frame.event(json);
    expect(event).toBe(`${opening.join("")}${json}${closing}`);
    expect(frame.byteLength(json)).toBe(Buffer.byteLength(event));
  }
});
