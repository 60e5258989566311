import { expect, test } from "vitest";
import { byteTokenizer } from "./byte-tokenizer.ts";

test("ids are the bytes of the text after a begin token", () => {
  const tokenizer = byteTokenizer(32_000);
  expect([...tokenizer.encode("hé")]).toEqual([256, 0x68, 0xc3, 0xa9]);
  expect(tokenizer.vocabSize).toBe(32_000);
  expect(tokenizer.eosTokenIds).toEqual([257]);
});

test("ids beyond the bytes decode to printable characters", () => {
  const text = byteTokenizer(32_000).decode(Array.from({ length: 5000 }, (_, i) => 258 + i * 6));
  expect(text).toMatch(/^[\x20-\x7e]{5000}$/);
});

test("control tokens are read only when allowed", () => {
  const tokenizer = byteTokenizer(258);
  expect([...tokenizer.encode("a</s>", { addBos: false })]).toEqual([...Buffer.from("a</s>")]);
  expect([...tokenizer.encode("a</s>", { addBos: false, allowSpecial: true })]).toEqual([97, 257]);
});

test("a vocabulary of exactly the bytes has no control tokens, a smaller one is refused", () => {
  const tokenizer = byteTokenizer(256);
  expect([...tokenizer.encode("<s>")]).toEqual([60, 115, 62]);
  expect(tokenizer.bosTokenId).toBeUndefined();
  expect(() => byteTokenizer(255)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
});
