/** What a server says that a request cost. */
export interface AnswerUsage {
  readonly promptTokens: number | undefined;
  readonly outputTokens: number | undefined;
  readonly cachedTokens: number | undefined;
}

/** What one chunk of an answer brought. */
export interface AnswerChunk {
  /** Latin-1, one character per byte of UTF-8 (`utf8` reads it); empty for a role, a finish or the usage. */
  readonly text: string;
  /** Where the chunk tells: by its token ids, or by a usage that runs along. */
  readonly tokens: number | undefined;
}

/** Chunks around whose text nothing changes from one to the next: everything before the text and everything after it. */
interface Frame {
  readonly opening: string;
  readonly closing: string;
}

const nothing: AnswerChunk = { text: "", tokens: undefined };
const textOpening = /"(?:content|text|reasoning_content|reasoning)":\s*"/;
const probe = "probe";

/**
 * Reads the JSON of chunks of /v1/completions and /v1/chat/completions as OpenAI, Kvant, vLLM and llama.cpp write it. Most
 * chunks differ from the one before in their text alone: once such a chunk has been parsed, what stands around its text is
 * remembered, and a chunk with the same surroundings and a text without quotes and backslashes needs no parsing, as it could
 * parse to nothing else.
 */
export class ChunkReader {
  #frame: Frame | undefined;
  /** By a usage that runs along, so far. */
  #tokensBefore: number | undefined;
  usage: AnswerUsage | undefined;
  finishReason: string | undefined;
  /** The sentence of an error that came in place of a chunk. */
  error: string | undefined;
  /** `[DONE]` has come. */
  isDone = false;

  /**
   * @param data of one event, Latin-1
   * @throws SyntaxError for what is not JSON, but in an event that is named an error
   */
  read(data: string, name = ""): AnswerChunk {
    const frame = this.#frame;
    if (frame !== undefined && data.startsWith(frame.opening) && data.endsWith(frame.closing)) {
      const text = data.slice(frame.opening.length, data.length - frame.closing.length);
      if (text.length > 0 && isPlain(text)) return { text, tokens: undefined };
    }
    if (data === "[DONE]") {
      this.isDone = true;
      return nothing;
    }
    const value = name === "error" ? jsonOrText(data) : (JSON.parse(data) as unknown);
    const error = errorSentence(value, name);
    if (error !== undefined) {
      this.error ??= utf8(error);
      return nothing;
    }
    return this.#parsed(data, value);
  }

  #parsed(data: string, value: unknown): AnswerChunk {
    const hasUsage = this.#takeUsage(field(value, "usage"));
    const choices = field(value, "choices");
    const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
    const finish = field(choice, "finish_reason");
    if (typeof finish === "string") this.finishReason = finish;
    const text = choiceText(choice);
    const tokenIds = field(choice, "token_ids");
    if (Array.isArray(tokenIds)) return { text, tokens: tokenIds.length };
    // A usage that comes with the last chunk alone tells of the whole answer; only one that runs along tells of the chunk.
    const runsAlong = this.#tokensBefore !== undefined || typeof finish !== "string";
    if (hasUsage && choice !== undefined && runsAlong) return { text, tokens: this.#newTokens() };
    if (text !== "" && !hasUsage && typeof finish !== "string") this.#frame = frameOf(data);
    return { text, tokens: undefined };
  }

  #takeUsage(usage: unknown): boolean {
    const outputTokens = count(field(usage, "completion_tokens"));
    const promptTokens = count(field(usage, "prompt_tokens"));
    if (outputTokens === undefined && promptTokens === undefined) return false;
    const cachedTokens = count(field(field(usage, "prompt_tokens_details"), "cached_tokens"));
    this.usage = { promptTokens, outputTokens, cachedTokens };
    return true;
  }

  #newTokens(): number | undefined {
    const total = this.usage?.outputTokens;
    if (total === undefined) return undefined;
    const tokens = Math.max(0, total - (this.#tokensBefore ?? 0));
    this.#tokensBefore = total;
    return tokens;
  }
}

/** Text that was read as Latin-1. */
export function utf8(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString("utf8");
}

/** The sentence in an error's JSON, whatever its shape: `{error: {message}}`, `{error: text}`, `{object: "error", message}`. */
export function errorSentence(value: unknown, eventName = ""): string | undefined {
  const error = field(value, "error");
  const message = field(error, "message") ?? field(value, "message") ?? field(value, "detail");
  const isError =
    (error !== undefined && error !== null) || field(value, "object") === "error" || eventName === "error";
  if (!isError) return undefined;
  if (typeof message === "string") return message;
  const said = error ?? value;
  return typeof said === "string" ? said : JSON.stringify(said);
}

/** The text of a completion, or of a chat's delta: what is said, thought or handed to a tool. */
function choiceText(choice: unknown): string {
  const text = field(choice, "text");
  if (typeof text === "string") return text;
  const delta = field(choice, "delta");
  for (const name of ["content", "reasoning_content", "reasoning", "refusal"]) {
    const part = field(delta, name);
    if (typeof part === "string" && part !== "") return part;
  }
  const calls = field(delta, "tool_calls");
  if (!Array.isArray(calls)) return "";
  return calls
    .flatMap((call: unknown) => [field(field(call, "function"), "name"), field(field(call, "function"), "arguments")])
    .filter((part) => typeof part === "string")
    .join("");
}

/** undefined where other strings of the chunk could be taken for its text. */
function frameOf(data: string): Frame | undefined {
  const match = textOpening.exec(data);
  if (match === null) return undefined;
  const start = match.index + match[0].length;
  let end = start;
  while (end < data.length && data[end] !== '"') end += data[end] === "\\" ? 2 : 1;
  const frame = { opening: data.slice(0, start), closing: data.slice(end) };
  // The first text of that name need not be the one that counts: a log probability has texts too.
  const choices = field(JSON.parse(frame.opening + probe + frame.closing), "choices");
  const isAlone = Array.isArray(choices) && choices.length === 1;
  return isAlone && choiceText(choices[0]) === probe ? frame : undefined;
}

function isPlain(text: string): boolean {
  return !text.includes('"') && !text.includes("\\");
}

function jsonOrText(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return data;
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : undefined;
}
