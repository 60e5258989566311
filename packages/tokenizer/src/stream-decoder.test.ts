import { describe, expect, test } from "vitest";
import { seededRandom } from "../test/seeded-random.ts";
import { folderWith } from "../test/temporary-folder.ts";
import { byteLevelJson, sentencePieceJson } from "../test/tiny-tokenizers.ts";
import { byteTokenizer } from "./byte-tokenizer.ts";
import { loadTokenizer } from "./load-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";

const kinds: { name: string; make: () => Tokenizer }[] = [
  {
    name: "a SentencePiece vocabulary",
    make: () => loadTokenizer(folderWith({ "tokenizer.json": sentencePieceJson }))!,
  },
  { name: "a byte-level vocabulary", make: () => loadTokenizer(folderWith({ "tokenizer.json": byteLevelJson }))! },
  { name: "a byte tokenizer", make: () => byteTokenizer(300) },
];

const texts = [
  "hi hi  hi",
  "\u{1F469}\u200D\u{1F469}\u200D\u{1F467} family, \u{1F680}!",
  "e\u0301 combining \u0928\u092E\u0938\u094D\u0924\u0947",
  "\uFEFFmark \uD55C\uAD6D\uC5B4 \u4F60\u597D",
  "tabs\t\tand\r\nlines\n\n",
  "",
];

const seed = Number(process.env.KVANT_TEST_SEED ?? 4711);

describe.each(kinds)("a stream over $name", ({ make }) => {
  test("gives text back whole", () => {
    const tokenizer = make();
    for (const text of texts) expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  test("equals the batch for any split, also of ids that make no valid UTF-8", () => {
    console.info(`seed ${seed}`);
    const random = seededRandom(seed);
    const tokenizer = make();
    for (let round = 0; round < 300; round++) {
      const ids =
        round % 2 === 0
          ? [...tokenizer.encode(random.pick(texts) + random.pick(texts))]
          : Array.from({ length: 1 + random.below(40) }, () => random.below(tokenizer.vocabSize + 3));
      const stream = tokenizer.streamDecoder();
      let text = "";
      for (let done = 0; done < ids.length; ) {
        const count = 1 + random.below(4);
        const delta = stream.push(ids.slice(done, done + count));
        expect(delta).not.toMatch(/\p{Surrogate}/u);
        text += delta;
        done += count;
      }
      text += stream.finish();
      expect(text).toBe(tokenizer.decode(ids));
    }
  });

  test("never gives out part of a character", () => {
    const tokenizer = make();
    const stream = tokenizer.streamDecoder();
    const deltas = [...tokenizer.encode("\u{1F680}\u00E9", { addBos: false })].map((id) => stream.push([id]));
    const spoken = deltas.filter((delta) => delta !== "");
    expect(spoken).toEqual(["\u{1F680}", "\u00E9"]);
    expect(stream.finish()).toBe("");
  });

  test("ends a cut character with one replacement character, and starts afresh", () => {
    const tokenizer = make();
    const rocket = [...tokenizer.encode("\u{1F680}", { addBos: false })].slice(-4);
    const stream = tokenizer.streamDecoder({ continuing: true });
    expect(stream.push(rocket.slice(0, 3))).toBe("");
    expect(stream.finish()).toBe("\uFFFD");
    expect(stream.push(rocket)).toBe("\u{1F680}");
  });
});

test("the space before the first word is dropped, except when the text continues another", () => {
  const tokenizer = loadTokenizer(folderWith({ "tokenizer.json": sentencePieceJson }))!;
  const ids = tokenizer.encode("hi hi");
  expect([...ids].map((id) => tokenizer.tokenBytes(id)!.length)).toEqual([3, 3, 3]); // <s>, " hi", " hi"
  expect(tokenizer.streamDecoder().push(ids)).toBe("hi hi");
  expect(tokenizer.streamDecoder({ continuing: true }).push(ids)).toBe(" hi hi");
  expect(tokenizer.streamDecoder({ skipSpecial: false }).push(ids)).toBe("<s> hi hi");
});

test("only one leading space is dropped, also when it comes alone", () => {
  const tokenizer = loadTokenizer(folderWith({ "tokenizer.json": sentencePieceJson }))!;
  const stream = tokenizer.streamDecoder();
  const space = tokenizer.encode(" ", { addBos: false }); // two: the prefix and the text
  expect([...space].map((id) => stream.push([id]))).toEqual(["", " "]);
});

test("a push costs as much at the end of a long stream as at its start", () => {
  let reads = 0;
  const tokenizer = byteTokenizer(300);
  const stream = tokenizer.streamDecoder();
  const counted = function* (ids: Iterable<number>): Generator<number> {
    for (const id of ids) {
      reads++;
      yield id;
    }
  };
  for (let i = 0; i < 1000; i++) expect(stream.push(counted([97, 98]))).toBe("ab");
  expect(reads).toBe(2000);
});
