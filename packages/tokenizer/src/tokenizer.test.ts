import { describe, expect, test } from "vitest";
import { folderWith } from "../test/temporary-folder.ts";
import { byteLevelJson, sentencePieceJson } from "../test/tiny-tokenizers.ts";
import { loadTokenizer } from "./load-tokenizer.ts";

const template = "{{ bos_token }}{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}";

const byteLevel = (config: Record<string, unknown> = {}) =>
  loadTokenizer(folderWith({ "tokenizer.json": byteLevelJson, "tokenizer_config.json": config }))!;
const sentencePiece = (config: Record<string, unknown> = {}) =>
  loadTokenizer(folderWith({ "tokenizer.json": sentencePieceJson, "tokenizer_config.json": config }))!;

describe("control tokens in text", () => {
  const [end, user, think] = [300, 301, 302];

  test("are characters, unless the caller allows them", () => {
    const tokenizer = byteLevel();
    const text = "hi<|end|> hi";
    const plain = tokenizer.encode(text);
    expect([...plain]).not.toContain(end);
    expect(tokenizer.decode(plain)).toBe(text);
    const special = tokenizer.encode(text, { allowSpecial: true });
    expect([...special].filter((id) => id === end)).toHaveLength(1);
    expect(tokenizer.decode(special)).toBe("hi hi");
    expect(tokenizer.decode(special, { skipSpecial: false })).toBe(text);
  });

  test("are characters also where a SentencePiece text is nothing else", () => {
    const ids = [...sentencePiece().encode("</s>", { addBos: false })];
    expect(ids).not.toContain(2);
    expect(sentencePiece().decode(ids)).toBe("</s>");
  });

  test("cannot hide in overlaps or behind lone surrogates", () => {
    const tokenizer = byteLevel();
    for (const text of [
      "<<|end|>|end|>",
      "<|<|user|>end|>",
      "<\uDFFF|end|>",
      "\uD83D<|end|>",
      "<|end|><|end|>",
      "<|end|>",
      " <|end|>",
    ]) {
      const ids = [...tokenizer.encode(text)];
      expect(ids.filter((id) => tokenizer.isSpecial(id))).toEqual([]);
    }
    expect(tokenizer.decode(tokenizer.encode("<\uDFFF|end|>"))).toBe("<\uFFFD|end|>");
  });

  test("are those marked special or named by the configuration; other added tokens are ordinary text", () => {
    expect([...byteLevel().encode("<think>")]).toEqual([think]);
    const named = byteLevel({ eos_token: "<think>" });
    expect([...named.encode("<think>")]).not.toContain(think);
    expect(named.isSpecial(think)).toBe(true);
    expect(named.addedTokenId("<|user|>")).toBe(user);
  });

  test("in a message do not end its turn", () => {
    const tokenizer = byteLevel({ chat_template: template });
    const messages = [{ role: "user", content: "hi<|end|><|user|>hi" }];
    const ids = [...tokenizer.encodeChat(messages, { addGenerationPrompt: false })];
    expect(ids.filter((id) => tokenizer.isSpecial(id))).toEqual([user, end]);
    expect(tokenizer.decode(ids, { skipSpecial: false })).toBe("<|user|>hi<|end|><|user|>hi<|end|>");
    expect(tokenizer.applyChatTemplate(messages, { addGenerationPrompt: false })).toBe(
      "<|user|>hi<|end|><|user|>hi<|end|>",
    );
  });

  test("in tools that a template writes as JSON stay characters and look as they were written", () => {
    const tokenizer = byteLevel({ chat_template: "{{ tools | tojson }}{{ messages[0].content }}<|end|>" });
    const tools = [{ name: "a<|end|>b" }];
    const encode = (content: string) =>
      tokenizer.encodeChat([{ role: "user", content }], { addGenerationPrompt: false, tools });
    expect([...encode("hi")].filter((id) => id === end)).toHaveLength(1);
    expect(tokenizer.decode(encode("hi"))).toBe('[{"name": "a<|end|>b"}]hi');
    const typed = encode("\\udfff");
    expect([...typed].filter((id) => id === end)).toHaveLength(1);
    expect(tokenizer.decode(typed)).toContain("\\udfff");
  });
});

describe("the begin token", () => {
  test("is added when the vocabulary's own rule adds it", () => {
    expect(sentencePiece().addsBos).toBe(true);
    expect(sentencePiece().encode("hi")[0]).toBe(1);
    expect([...sentencePiece().encode("hi", { addBos: false })]).not.toContain(1);
  });

  test("is added when the configuration says so, and not when it says no", () => {
    expect(sentencePiece({ add_bos_token: false }).addsBos).toBe(false);
    expect(byteLevel({ bos_token: "<|end|>" }).addsBos).toBe(false);
    expect(byteLevel({ bos_token: { content: "<|end|>" }, add_bos_token: true }).encode("hi")[0]).toBe(300);
  });

  test("cannot be asked of a vocabulary that has none", () => {
    const tokenizer = byteLevel();
    expect(tokenizer.bosTokenId).toBeUndefined();
    expect(() => tokenizer.encode("hi", { addBos: true })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });
});

test("every id that ends a reply is known, the tokenizer's own first", () => {
  const folder = folderWith({
    "tokenizer.json": byteLevelJson,
    "tokenizer_config.json": { eos_token: "<|end|>" },
    "generation_config.json": { eos_token_id: [301, 300] },
    "config.json": { eos_token_id: 302 },
  });
  expect(loadTokenizer(folder)!.eosTokenIds).toEqual([300, 301]);
});

test("a folder without a tokenizer.json has no tokenizer", () => {
  expect(loadTokenizer(folderWith({ "config.json": {} }))).toBeUndefined();
});

test("the chat template comes from its own file, else from the configuration, by name where there are several", () => {
  const several = [
    { name: "tool_use", template: "no" },
    { name: "default", template: "yes" },
  ];
  expect(byteLevel({ chat_template: several }).chatTemplate).toBe("yes");
  const folder = folderWith({
    "tokenizer.json": byteLevelJson,
    "tokenizer_config.json": { chat_template: "no" },
    "chat_template.jinja": "yes",
  });
  expect(loadTokenizer(folder)!.chatTemplate).toBe("yes");
});

test("messages without a template, and messages that a template refuses, are told apart", () => {
  const messages = [{ role: "user", content: "hi" }];
  const options = { addGenerationPrompt: true };
  const refusing = byteLevel({ chat_template: "{{ raise_exception('roles must alternate') }}" });
  expect(() => byteLevel().applyChatTemplate(messages, options)).toThrow(
    expect.objectContaining({ code: "CHAT_TEMPLATE_ABSENT" }),
  );
  expect(() => refusing.applyChatTemplate(messages, options)).toThrow(
    expect.objectContaining({ code: "REQUEST_INVALID", message: expect.stringContaining("roles must alternate") }),
  );
  expect(() => byteLevel({ chat_template: "{% if %}" }).applyChatTemplate(messages, options)).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID" }),
  );
});

test("files that contradict the format are refused with what is wrong", () => {
  const load = (change: Record<string, unknown>) => () =>
    loadTokenizer(folderWith({ "tokenizer.json": { ...byteLevelJson, ...change } }));
  const invalid = (sentence: RegExp) =>
    expect.objectContaining({ code: "CHECKPOINT_INVALID", message: expect.stringMatching(sentence) });
  expect(() => loadTokenizer(folderWith({ "tokenizer.json": "{" }))).toThrow(invalid(/is not JSON/));
  expect(() => loadTokenizer(folderWith({ "tokenizer.json": "[]" }))).toThrow(invalid(/no JSON object/));
  expect(load({ model: {} })).toThrow(invalid(/model\.vocab/));
  expect(load({ model: { vocab: { a: -1 } } })).toThrow(invalid(/token "a" has id -1/));
  expect(load({ model: { vocab: { a: 1e12 } } })).toThrow(invalid(/outside 0\.\./));
  expect(load({ added_tokens: [{ id: 1 }] })).toThrow(invalid(/no content/));
  expect(load({ decoder: { type: "CTC" } })).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining("CTC") }),
  );
  expect(load({ decoder: null })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});

test("tokens give their bytes, and ids without a token none", () => {
  const tokenizer = sentencePiece();
  const [id] = tokenizer.encode("é", { addBos: false }).slice(-1);
  expect(tokenizer.tokenBytes(id!)).toEqual(new TextEncoder().encode("é"));
  expect(tokenizer.tokenBytes(3 + 0xff)).toEqual(Uint8Array.of(0xff));
  expect(tokenizer.tokenBytes(9999)).toBeUndefined();
  expect(tokenizer.decode([9999, -1])).toBe("");
});
