import type { StepOutputs } from "@kvant/kernels";
import type { Tokenizer } from "@kvant/tokenizer";
import { Completion, type CompletionRequest } from "./completion.ts";
import type { GenerateEvent, Usage } from "./engine.ts";
import type { Sequence } from "./sequence.ts";

/** Where the events of a request go. A sink that throws fails its own request and no other. */
export interface RequestSink {
  event(event: GenerateEvent): void;
  /** In place of the `event` of a delta of one token without log-probabilities, for a sink that needs no event object. */
  token?(index: number, tokenId: number, text: string): void;
  /** After `done`. */
  end(): void;
  fail(error: unknown): void;
}

const noPairs: readonly (readonly [number, number])[] = [];

/** Timers count in 32 bits; a longer wait is made of several. */
const longestTimerMilliseconds = 2 ** 31 - 1;

/** One request while it runs: its completions, its clock, its reader. */
export class Generation {
  readonly completions: readonly Completion[];
  readonly promptTokens: number;
  readonly #sink: RequestSink;
  readonly #submittedAt = performance.now();
  #startedAt: number | undefined;
  #firstTokenAt: number | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(
    sequences: readonly Sequence[],
    request: CompletionRequest,
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

  /** Called when a step includes one of its sequences. @returns whether it is the first. */
  start(): boolean {
    if (this.#startedAt !== undefined) return false;
    this.#startedAt = performance.now();
    return true;
  }

  /** Calls `expire` unless the request is over before. */
  startDeadline(milliseconds: number, expire: () => void): void {
    const wait = Math.min(milliseconds, longestTimerMilliseconds);
    this.#deadline = setTimeout(() => {
      if (milliseconds > wait) this.startDeadline(milliseconds - wait, expire);
      else expire();
    }, wait);
    this.#deadline.unref();
  }

  /** A token that row `row` of a step has drawn. */
  accept(completion: Completion, tokenId: number, outputs: StepOutputs, row: number): void {
    if (this.#isOver || completion.isFinished) return;
    this.#firstTokenAt ??= performance.now();
    try {
      const text = this.#sink.token === undefined ? undefined : completion.acceptPlain(tokenId);
      if (text !== undefined) {
        this.#sink.token?.(completion.index, tokenId, text);
        return;
      }
      const token = { tokenId, logprob: outputs.sampledLogprobs[row]!, top: outputs.topLogprobs[row] ?? noPairs };
      for (const event of completion.accept(token)) this.#sink.event(event);
      if (this.completions.every(({ isFinished }) => isFinished)) this.#end();
    } catch (error) {
      // A sink or a tokenizer: the other requests of the step go on.
      this.#fail(error);
    }
  }

  /** Ends with an error that comes from elsewhere: what the completions have gathered goes out before it. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    try {
      for (const completion of this.completions) {
        for (const event of completion.takeGathered()) this.#sink.event(event);
      }
    } catch {
      // The reader learns of the first error.
    }
    this.#fail(error);
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#close();
    try {
      this.#sink.fail(error);
    } catch {
      // It was told; nobody else wants to know.
    }
  }

  /** The reader has gone: nothing more is said. */
  cancel(): void {
    this.#close();
  }

  #close(): void {
    this.#isOver = true;
    clearTimeout(this.#deadline);
  }

  #end(): void {
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
    this.#close();
    this.#sink.end();
  }

  #usage(): Usage {
    const sequences = this.completions.map(({ sequence }) => sequence);
    return {
      promptTokens: this.promptTokens,
      cachedTokens: sequences[0]!.cachedTokens ?? 0,
      completionTokens: sequences.reduce((sum, { outputCount }) => sum + outputCount, 0),
    };
  }
}
