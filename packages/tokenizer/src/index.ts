export { byteTokenizer } from "./byte-tokenizer.ts";
export { type ChatMessage, ChatTemplate, type ChatTemplateOptions } from "./chat-template.ts";
export { loadTokenizer } from "./load-tokenizer.ts";
export { StreamDecoder, type StreamDecoderOptions } from "./stream-decoder.ts";
export { type DecodeOptions, type EncodeOptions, Tokenizer } from "./tokenizer.ts";
