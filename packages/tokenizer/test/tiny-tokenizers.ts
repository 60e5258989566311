/** `id` counts up over the tokens. */
const vocabOf = (tokens: readonly string[]) => Object.fromEntries(tokens.map((token, id) => [token, id]));
const control = (id: number, content: string) => ({ id, content, special: true, normalized: false });

const byteTokens = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);

/** Llama 2's kind: `▁` for spaces, bytes for what is unknown, one space put before the text and taken off again. */
export const sentencePieceJson = {
  added_tokens: [control(0, "<unk>"), control(1, "<s>"), control(2, "</s>")],
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { String: " " }, content: "▁" },
    ],
  },
  pre_tokenizer: null,
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
  },
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
  model: {
    type: "BPE",
    unk_token: "<unk>",
    fuse_unk: true,
    byte_fallback: true,
    vocab: vocabOf(["<unk>", "<s>", "</s>", ...byteTokens, "▁", "h", "i", "<", ">", "s", "/", "hi", "▁hi", "é"]),
    merges: ["h i", "▁ hi"],
  },
};

const byteLevelAlphabet = Array.from({ length: 256 }, (_, byte) => byte)
  .filter((byte) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae)
  .map((byte) => String.fromCharCode(byte));

/** GPT-2's kind: every byte a printable character, words cut by a regular expression. */
export const byteLevelJson = {
  added_tokens: [control(300, "<|end|>"), control(301, "<|user|>"), { id: 302, content: "<think>", special: false }],
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
  post_processor: null,
  decoder: { type: "ByteLevel" },
  model: {
    type: "BPE",
    vocab: vocabOf([
      ...byteLevelAlphabet,
      ...Array.from({ length: 68 }, (_, i) => String.fromCharCode(0x100 + i)),
      "hi",
      "Ġhi",
    ]),
    merges: [
      ["h", "i"],
      ["Ġ", "hi"],
    ],
  },
};
