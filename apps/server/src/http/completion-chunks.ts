import type { GenerateEvent, Usage } from "@kvant/engine";
import { type AnswerHead, codePoints, completionLogprobs, usageBody } from "./answer-parts.ts";
import type { ChunkWriter } from "./stream-choices.ts";
import { TextFrame } from "./text-frame.ts";

export interface ChunkOptions {
  readonly withLogprobs: boolean;
  readonly includeUsage: boolean;
}

/** Chunks of /v1/completions. All but the text of a chunk is the same all along, so it is built once. */
export class CompletionChunks implements ChunkWriter {
  readonly #head: string;
  readonly #tail: string;
  readonly #closing: string;
  readonly #options: ChunkOptions;
  readonly #echoes: readonly string[];
  readonly #choicesPerPrompt: number;
  readonly #offsets = new Map<number, number>();

  /** `echoes`: the text of each prompt that goes before its completions; empty when not asked for. */
  constructor(head: AnswerHead, options: ChunkOptions, echoes: readonly string[], choicesPerPrompt: number) {
    const { id, created, model, system_fingerprint } = head;
    const opening = JSON.stringify({ id, object: "text_completion", created, model, system_fingerprint });
    this.#head = `data: ${opening.slice(0, -1)},"choices":[`;
    // OpenAI: when usage is asked for, every chunk but the last carries a null.
    this.#tail = options.includeUsage ? '],"usage":null}\n\n' : "]}\n\n";
    this.#closing = `,"logprobs":null,"finish_reason":null,"stop_reason":null}${this.#tail}`;
    this.#options = options;
    this.#echoes = echoes;
    this.#choicesPerPrompt = choicesPerPrompt;
  }

  begin(index: number): string {
    const echo = this.#echo(index);
    return echo === "" ? "" : this.#chunk(index, echo, "null", "null", null);
  }

  frame(index: number): TextFrame | undefined {
    if (this.#options.withLogprobs) return undefined;
    return new TextFrame([this.#head, `{"index":${index},"text":`], this.#closing);
  }

  delta(index: number, { text, logprobs }: Extract<GenerateEvent, { type: "delta" }>): string {
    if (text === "" && logprobs.length === 0) return "";
    const offset = this.#offsets.get(index) ?? codePoints(this.#echo(index));
    this.#offsets.set(index, offset + logprobs.reduce((sum, token) => sum + codePoints(token.text), 0));
    return this.#chunk(index, text, JSON.stringify(completionLogprobs(logprobs, offset)), "null", null);
  }

  finish(index: number, event: Extract<GenerateEvent, { type: "finish" }>): string {
    return this.#chunk(index, "", "null", `"${event.reason}"`, event.stopText ?? event.stopTokenId ?? null);
  }

  usage(usage: Usage): string {
    return this.#options.includeUsage ? `${this.#head}],"usage":${JSON.stringify(usageBody(usage))}}\n\n` : "";
  }

  #echo(index: number): string {
    return this.#echoes[Math.floor(index / this.#choicesPerPrompt)] ?? "";
  }

  #chunk(index: number, text: string, logprobs: string, finish: string, stopReason: string | number | null): string {
    return (
      `${this.#head}{"index":${index},"text":${JSON.stringify(text)},"logprobs":${logprobs},` +
      `"finish_reason":${finish},"stop_reason":${JSON.stringify(stopReason)}}${this.#tail}`
    );
  }
}
