import type { GenerateEvent, Usage } from "@kvant/engine";
import { type AnswerHead, chatLogprobs, usageBody } from "./answer-parts.ts";
import type { ChunkOptions } from "./completion-chunks.ts";
import type { ChunkWriter } from "./stream-choices.ts";
import { TextFrame } from "./text-frame.ts";

/** Chunks of /v1/chat/completions. All but the text of a chunk is the same all along, so it is built once. */
export class ChatChunks implements ChunkWriter {
  readonly #head: string;
  readonly #tail: string;
  readonly #closing: string;
  readonly #options: ChunkOptions;

  constructor(head: AnswerHead, options: ChunkOptions) {
    const { id, created, model, system_fingerprint } = head;
    const opening = JSON.stringify({ id, object: "chat.completion.chunk", created, model, system_fingerprint });
    this.#head = `data: ${opening.slice(0, -1)},"choices":[`;
    // OpenAI: when usage is asked for, every chunk but the last carries a null.
    this.#tail = options.includeUsage ? '],"usage":null}\n\n' : "]}\n\n";
    this.#closing = `},"logprobs":null,"finish_reason":null}${this.#tail}`;
    this.#options = options;
  }

  begin(index: number): string {
    return this.#chunk(index, '{"role":"assistant","content":"","refusal":null}', "null", "null");
  }

  frame(index: number): TextFrame | undefined {
    if (this.#options.withLogprobs) return undefined;
    return new TextFrame([this.#head, `{"index":${index},"delta":{"content":`], this.#closing);
  }

  delta(index: number, { text, logprobs }: Extract<GenerateEvent, { type: "delta" }>): string {
    if (text === "" && logprobs.length === 0) return "";
    const tokens = JSON.stringify(chatLogprobs(logprobs));
    return this.#chunk(index, `{"content":${JSON.stringify(text)}}`, tokens, "null");
  }

  finish(index: number, event: Extract<GenerateEvent, { type: "finish" }>): string {
    const stopReason = JSON.stringify(event.stopText ?? event.stopTokenId ?? null);
    return this.#chunk(index, "{}", "null", `"${event.reason}","stop_reason":${stopReason}`);
  }

  usage(usage: Usage): string {
    return this.#options.includeUsage ? `${this.#head}],"usage":${JSON.stringify(usageBody(usage))}}\n\n` : "";
  }

  #chunk(index: number, delta: string, logprobs: string, finish: string): string {
    return `${this.#head}{"index":${index},"delta":${delta},"logprobs":${logprobs},"finish_reason":${finish}}${this.#tail}`;
  }
}
