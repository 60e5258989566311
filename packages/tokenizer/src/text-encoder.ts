import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import { KvantError } from "@kvant/core";
import { AdjacencySplitter } from "./adjacency-splitter.ts";
import { controlBreak } from "./control-text.ts";
import { isRecord } from "./json-file.ts";

/**
 * Text to ids by the rules of a tokenizer.json: added tokens are recognized wherever their text stands, control tokens
 * unless a `controlBreak` is inside them. No begin or end token is added.
 */
export type TextEncode = (text: string) => readonly number[];

/** What is used of the library: its own types do not resolve under `nodenext`. */
interface Library {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  pre_tokenizer: Split | null;
}

type Split = (text: string, options: unknown) => string[];

/**
 * Wraps the Hugging Face library. It is built at the first text (about 0.1 s for 32k tokens), because a caller who sends
 * token ids never needs it.
 */
export function textEncoder(tokenizerJson: Record<string, unknown>): TextEncode {
  let library: Library | undefined;
  return (text) => {
    library ??= build(tokenizerJson);
    const { ids } = library.encode(text, { add_special_tokens: false });
    return ids.map((id) => {
      if (id !== undefined) return id;
      throw new KvantError("CONFIG_INVALID", "tokenizer.json has no token for a part of the text and no unknown token");
    });
  };
}

function build(json: Record<string, unknown>): Library {
  let library: Library;
  try {
    library = new HubTokenizer(json, {});
  } catch (cause) {
    throw new KvantError("CHECKPOINT_INVALID", `tokenizer.json cannot be used: ${String(cause)}`, { cause });
  }
  const split = library.pre_tokenizer ?? splitterFor(json);
  // The last look for added tokens comes right before this: here the breaks have done their work.
  library.pre_tokenizer = (text, options) => split(text.replaceAll(controlBreak, ""), options);
  return library;
}

function splitterFor({ model }: Record<string, unknown>): Split {
  if (!isRecord(model) || model.type !== "BPE" || !isRecord(model.vocab)) return (text) => [text];
  const splitter = new AdjacencySplitter(Object.keys(model.vocab));
  return (text) => splitter.split(text);
}
