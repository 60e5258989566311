import { join } from "node:path";
import { KvantError, limit } from "@kvant/core";
import { ChatTemplate } from "./chat-template.ts";
import { isRecord, readJsonFile, readTextFile } from "./json-file.ts";
import { textEncoder } from "./text-encoder.ts";
import { tokenDecoder } from "./token-decoder.ts";
import { Tokenizer } from "./tokenizer.ts";
import { type AddedToken, Vocabulary } from "./vocabulary.ts";

type Json = Record<string, unknown>;

/**
 * The tokenizer of a checkpoint in Hugging Face layout. Reads `tokenizer.json` and, where they exist, `tokenizer_config.json`,
 * `special_tokens_map.json`, `chat_template.jinja`, `generation_config.json` and `config.json`.
 * @returns undefined when the folder has no tokenizer.json.
 * @throws KvantError CHECKPOINT_INVALID when a file contradicts its format, CONFIG_INVALID when its decoder is not supported
 */
export function loadTokenizer(folder: string): Tokenizer | undefined {
  const path = join(folder, "tokenizer.json");
  const json = readJsonFile(path, "tokenizerBytes");
  if (json === undefined) return undefined;
  const names = {
    ...readJsonFile(join(folder, "special_tokens_map.json"), "configBytes"),
    ...readJsonFile(join(folder, "tokenizer_config.json"), "configBytes"),
  };

  const tokens = modelTokens(json, path);
  const added = addedTokens(json, names, tokens, path);
  const vocabulary = new Vocabulary({ tokens, added, decoder: tokenDecoder(json.decoder) });
  const idOf = (token: string | undefined): number | undefined =>
    token === undefined ? undefined : vocabulary.addedId(token);

  const templateBos = templateBegin(json);
  const bosToken = tokenText(names.bos_token) ?? templateBos;
  const eosToken = tokenText(names.eos_token);
  const eosTokenIds = [idOf(eosToken), ...configuredEos(folder)].filter((id) => id !== undefined);
  const source = templateSource(folder, names);
  return new Tokenizer({
    vocabulary,
    encodeText: textEncoder({ ...json, added_tokens: libraryTokens(json, added) }),
    bosTokenId: idOf(bosToken),
    addsBos: typeof names.add_bos_token === "boolean" ? names.add_bos_token : templateBos !== undefined,
    eosTokenIds: [...new Set(eosTokenIds)],
    chatTemplate:
      source === undefined
        ? undefined
        : new ChatTemplate(source, { bosToken: bosToken ?? "", eosToken: eosToken ?? "" }),
  });
}

/** [id] the tokens of the model itself. */
function modelTokens(json: Json, path: string): (string | undefined)[] {
  const vocab = isRecord(json.model) ? json.model.vocab : undefined;
  const tokens: (string | undefined)[] = [];
  if (Array.isArray(vocab)) {
    for (const [id, entry] of vocab.entries()) {
      const token: unknown = Array.isArray(entry) ? entry[0] : undefined;
      if (typeof token !== "string")
        throw new KvantError("CHECKPOINT_INVALID", `${path}: vocab entry ${id} has no token`);
      tokens.push(token);
    }
  } else if (isRecord(vocab)) {
    const names = Object.keys(vocab);
    tokens.length = names.length; // ids come in any order; without the length the array would turn into a hash map
    for (const token of names) tokens[checkedId(vocab[token], token, path)] = token;
  } else {
    throw new KvantError("CHECKPOINT_INVALID", `${path}: model.vocab is neither an object nor a list`);
  }
  return tokens;
}

/** The added tokens, and which of them are control tokens: those marked special, and those that the configuration names. */
function addedTokens(json: Json, names: Json, tokens: readonly (string | undefined)[], path: string): AddedToken[] {
  const named = new Set(
    ["bos_token", "eos_token", "unk_token", "pad_token"]
      .map((key) => tokenText(names[key]))
      .filter((each) => each !== undefined),
  );
  const added: AddedToken[] = [];
  for (const entry of Array.isArray(json.added_tokens) ? json.added_tokens : []) {
    if (!isRecord(entry) || typeof entry.content !== "string" || entry.content === "") {
      throw new KvantError("CHECKPOINT_INVALID", `${path}: an added token has no content: ${JSON.stringify(entry)}`);
    }
    const { content } = entry;
    const isControl = entry.special === true || named.delete(content);
    named.delete(content);
    added.push({ id: checkedId(entry.id, content, path), content, isControl });
  }
  for (const content of named) {
    const id = tokens.indexOf(content);
    if (id >= 0) added.push({ id, content, isControl: true });
  }
  return added;
}

/** What the library is to recognize. Control tokens are matched in the text as it stands, before anything normalizes it. */
function libraryTokens(json: Json, added: readonly AddedToken[]): Json[] {
  const entries = new Map<unknown, Json>();
  for (const entry of Array.isArray(json.added_tokens) ? json.added_tokens : []) {
    if (isRecord(entry)) entries.set(entry.content, entry);
  }
  return added.map(({ id, content, isControl }) => ({
    single_word: false,
    lstrip: false,
    rstrip: false,
    ...entries.get(content),
    id,
    content,
    special: isControl,
    ...(isControl ? { normalized: false } : {}),
  }));
}

function checkedId(id: unknown, token: string, path: string): number {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < limit("vocabulary")) return id;
  const range = `0..${limit("vocabulary") - 1}`;
  throw new KvantError(
    "CHECKPOINT_INVALID",
    `${path}: token ${JSON.stringify(token)} has id ${String(id)}, outside ${range}`,
  );
}

/** Configurations write a token as its text or as an object around it. */
function tokenText(value: unknown): string | undefined {
  const text = isRecord(value) ? value.content : value;
  return typeof text === "string" && text !== "" ? text : undefined;
}

/** The token that the post-processor puts before a text. */
function templateBegin(json: Json): string | undefined {
  for (const processor of processors(json.post_processor)) {
    const first: unknown = Array.isArray(processor.single) ? processor.single[0] : undefined;
    const special = isRecord(first) ? first.SpecialToken : undefined;
    if (processor.type === "TemplateProcessing" && isRecord(special)) return tokenText(special.id);
  }
  return undefined;
}

function processors(value: unknown): Json[] {
  if (!isRecord(value)) return [];
  return value.type === "Sequence" && Array.isArray(value.processors) ? value.processors.flatMap(processors) : [value];
}

/** A model may end its reply with several tokens; `generation_config.json` has the last word, `config.json` the older one. */
function configuredEos(folder: string): number[] {
  for (const file of ["generation_config.json", "config.json"]) {
    const value = readJsonFile(join(folder, file), "configBytes")?.eos_token_id;
    const ids = (Array.isArray(value) ? value : [value]).filter(
      (id) => typeof id === "number" && Number.isInteger(id) && id >= 0,
    );
    if (ids.length > 0) return ids;
  }
  return [];
}

function templateSource(folder: string, names: Json): string | undefined {
  const file = readTextFile(join(folder, "chat_template.jinja"), "configBytes");
  if (file !== undefined) return file;
  const value = names.chat_template;
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const fallback = value.filter(isRecord).find((each) => each.name === "default");
  return typeof fallback?.template === "string" ? fallback.template : undefined;
}
