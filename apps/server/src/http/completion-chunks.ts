import type { GenerateEvent, Usage } from "@kvant/engine";
import { type AnswerHead, codePoints, completionLogprobs, usageBody } from "./answer-parts.ts";
import type { ChunkWriter } from "./stream-choices.ts";

export interface ChunkOptions {
  readonly withLogprobs: boolean;
  readonly includeUsage: boolean;
}

/** Chunks of /v1/completions. All but the text of a chunk is the same all along, so it is built once. */
export class CompletionChunks implements ChunkWriter {
  readonly #head: string;
  readonly #tail: string;
  /** `[index]` of a chunk that is a text and no more: what stands before it, and after it. */
  readonly #openings: string[] = [];
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
    return echo === "" ? "" : this.#text(index, echo);
  }

  delta(index: number, { text, logprobs }: Extract<GenerateEvent, { type: "delta" }>): string {
    if (!this.#options.withLogprobs) return text === "" ? "" : this.#text(index, text);
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

  /** `#chunk` of a text and no more: from three pieces instead of twelve, which is most of its cost. */
  #text(index: number, text: string): string {
    this.#openings[index] ??= `${this.#head}{"index":${index},"text":`;
    return this.#openings[index] + JSON.stringify(text) + this.#closing;
  }

  #chunk(index: number, text: string, logprobs: string, finish: string, stopReason: string | number | null): string {
    return (
      `${this.#head}{"index":${index},"text":${JSON.stringify(text)},"logprobs":${logprobs},` +
      `"finish_reason":${finish},"stop_reason":${JSON.stringify(stopReason)}}${this.#tail}`
    );
  }
}
