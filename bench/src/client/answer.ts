import type { PlannedRequest } from "../load/planned-request.ts";
import type { RequestRecord, TokenCounter } from "../load/request-record.ts";
import { type AnswerUsage, utf8 } from "./answer-chunk.ts";
import type { LoadClock } from "./load-clock.ts";

export type Failure = NonNullable<RequestRecord["failure"]>;

/** Counts the tokens of a text. */
export type CountTokens = (text: string) => number;

export interface AnswerOptions {
  readonly request: PlannedRequest;
  /** Seconds after the start of the load. */
  readonly dueAt: number;
  readonly clock: LoadClock;
  /** The next turn of the conversation, or the tokenizer, wants to read it. */
  readonly keepsText: boolean;
  /** Once, when the answer has ended, well or not. */
  readonly onEnd: (answer: Answer) => void;
  /** After each chunk with text or tokens: seconds since the one before, undefined for the first. */
  readonly onChunk?: (gap: number | undefined) => void;
}

/** One answer while it comes: the client hands on what it reads, and the moment of that is what is recorded. */
export class Answer {
  readonly request: PlannedRequest;
  readonly dueAt: number;
  sentAt: number;
  usage: AnswerUsage | undefined;
  finishReason: string | undefined;
  queueSeconds: number | undefined;
  #clock: LoadClock;
  #options: AnswerOptions;
  #firstTokenAt: number | undefined;
  #lastTokenAt: number | undefined;
  #completeAt: number | undefined;
  #endedAt: number | undefined;
  #failure: Failure | undefined;
  #gaps = new Float32Array(64);
  #gapCount = 0;
  /** Tokens of each chunk, as long as every one has told. */
  #chunkTokens: number[] | undefined = [];
  #texts: string[] = [];

  constructor(options: AnswerOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.request = options.request;
    this.dueAt = options.dueAt;
    this.sentAt = options.clock.now();
  }

  get hasEnded(): boolean {
    return this.#endedAt !== undefined;
  }

  get failure(): Failure | undefined {
    return this.#failure;
  }

  now(): number {
    return this.#clock.now();
  }

  get chunkCount(): number {
    return this.#firstTokenAt === undefined ? 0 : this.#gapCount + 1;
  }

  /** What was said; empty unless it is kept. */
  get text(): string {
    return utf8(this.#texts.join(""));
  }

  /**
   * A chunk of the answer has come just now. One without text or tokens, or whose tokens are none, is not one.
   * @param text Latin-1, one character per byte of UTF-8
   */
  chunk(text: string, tokens: number | undefined): void {
    if (this.hasEnded || (tokens ?? text.length) === 0) return;
    const now = this.#clock.now();
    const gap = this.#lastTokenAt === undefined ? undefined : now - this.#lastTokenAt;
    if (gap === undefined) this.#firstTokenAt = now;
    else this.#addGap(gap);
    this.#lastTokenAt = now;
    if (tokens === undefined) this.#chunkTokens = undefined;
    else this.#chunkTokens?.push(tokens);
    if (this.#options.keepsText) this.#texts.push(text);
    this.#options.onChunk?.(gap);
  }

  /** The mark of a good end has come just now; what the connection does from here on is no matter of the answer. */
  complete(usage: AnswerUsage | undefined, finishReason: string | undefined): void {
    if (this.hasEnded) return;
    this.usage = usage;
    this.finishReason = finishReason;
    this.#completeAt ??= this.#clock.now();
  }

  /** The first of several ends is the one that counts. */
  end(failure?: Failure): void {
    if (this.hasEnded) return;
    this.#endedAt = this.#completeAt ?? this.#clock.now();
    this.#failure = this.#completeAt === undefined ? failure : undefined;
    this.#options.onEnd(this);
  }

  /**
   * @param countTokens for a server that does not tell
   * @throws KvantError what `countTokens` throws
   */
  record(countTokens?: CountTokens): RequestRecord {
    const { request, usage } = this;
    const { outputTokens, countedBy } = this.#counted(countTokens);
    const promptTokens = usage?.promptTokens ?? request.promptTokens;
    const gapTokens = this.#gapCount === 0 ? undefined : this.#chunkTokens;
    return {
      index: request.index,
      dueAt: this.dueAt,
      sentAt: this.sentAt,
      ...(this.#firstTokenAt === undefined ? {} : { firstTokenAt: this.#firstTokenAt }),
      ...(this.#lastTokenAt === undefined ? {} : { lastTokenAt: this.#lastTokenAt }),
      endedAt: this.#endedAt ?? this.#clock.now(),
      ...(promptTokens === undefined ? {} : { promptTokens }),
      ...(usage?.cachedTokens === undefined ? {} : { cachedTokens: usage.cachedTokens }),
      outputTokens,
      countedBy,
      gaps: this.#gaps.slice(0, this.#gapCount),
      ...(gapTokens === undefined ? {} : { gapTokens: Uint16Array.from(gapTokens.slice(1)) }),
      ...(this.queueSeconds === undefined ? {} : { queueSeconds: this.queueSeconds }),
      ...(this.finishReason === undefined ? {} : { finishReason: this.finishReason }),
      ...(this.#failure === undefined ? {} : { failure: this.#failure }),
    };
  }

  #counted(countTokens: CountTokens | undefined): { outputTokens: number; countedBy: TokenCounter } {
    const told = this.usage?.outputTokens ?? this.#chunkTokens?.reduce((sum, tokens) => sum + tokens, 0);
    // Without any chunk there is nothing to count, whoever counts.
    if (told !== undefined && (this.usage !== undefined || this.chunkCount > 0)) {
      return { outputTokens: told, countedBy: "usage" };
    }
    if (countTokens !== undefined) return { outputTokens: countTokens(this.text), countedBy: "tokenizer" };
    return { outputTokens: this.chunkCount, countedBy: "chunks" };
  }

  #addGap(gap: number): void {
    if (this.#gapCount === this.#gaps.length) {
      const grown = new Float32Array(this.#gaps.length * 2);
      grown.set(this.#gaps);
      this.#gaps = grown;
    }
    this.#gaps[this.#gapCount++] = gap;
  }
}
