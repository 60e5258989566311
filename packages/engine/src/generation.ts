import type { Tokenizer } from "@kvant/tokenizer";
import type { CheckedRequest } from "./check-request.ts";
import { Completion, type SampledToken } from "./completion.ts";
import type { GenerateEvent, Usage } from "./engine.ts";
import type { Sequence } from "./sequence.ts";

/** Where the events of a request go. */
export interface RequestSink {
  event(event: GenerateEvent): void;
  /** After `done`. */
  end(): void;
  fail(error: unknown): void;
}

/** One request while it runs: its completions, its clock, its reader. */
export class Generation {
  readonly completions: readonly Completion[];
  readonly promptTokens: number;
  readonly #sink: RequestSink;
  readonly #submittedAt = performance.now();
  #startedAt: number | undefined;
  #firstTokenAt: number | undefined;
  #isOver = false;

  constructor(
    sequences: readonly Sequence[],
    request: CheckedRequest,
    tokenizer: Tokenizer | undefined,
    sink: RequestSink,
  ) {
    this.completions = sequences.map((sequence, index) => new Completion(sequence, index, request, tokenizer));
    this.promptTokens = sequences[0]!.promptIds.length;
    this.#sink = sink;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Called when a step first includes one of its sequences. */
  start(): void {
    this.#startedAt ??= performance.now();
  }

  /** @returns whether the completion has ended with this token. */
  accept(completion: Completion, token: SampledToken): boolean {
    if (this.#isOver || completion.isFinished) return true;
    this.#firstTokenAt ??= performance.now();
    for (const event of completion.accept(token)) this.#sink.event(event);
    if (completion.isFinished && this.completions.every(({ isFinished }) => isFinished)) this.#end();
    return completion.isFinished;
  }

  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#sink.fail(error);
  }

  /** The reader has gone: nothing more is said. */
  cancel(): void {
    this.#isOver = true;
  }

  #end(): void {
    this.#isOver = true;
    const now = performance.now();
    const startedAt = this.#startedAt ?? now;
    const firstTokenAt = this.#firstTokenAt ?? now;
    this.#sink.event({
      type: "done",
      usage: this.#usage(),
      timings: {
        queueSeconds: (startedAt - this.#submittedAt) / 1000,
        prefillSeconds: (firstTokenAt - startedAt) / 1000,
        decodeSeconds: (now - firstTokenAt) / 1000,
      },
    });
    this.#sink.end();
  }

  #usage(): Usage {
    const sequences = this.completions.map(({ sequence }) => sequence);
    return {
      promptTokens: this.promptTokens,
      cachedTokens: sequences[0]!.cachedTokens ?? 0,
      completionTokens: sequences.reduce((sum, { outputIds }) => sum + outputIds.length, 0),
    };
  }
}
