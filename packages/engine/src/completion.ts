import type { StreamDecoder, Tokenizer } from "@kvant/tokenizer";
import type { CheckedRequest } from "./check-request.ts";
import type { FinishReason, GenerateEvent, TokenLogprob } from "./engine.ts";
import type { Sequence } from "./sequence.ts";
import { StopMatcher } from "./stop-matcher.ts";

/** A sampled token with what the backend says about it. */
export interface SampledToken {
  readonly tokenId: number;
  readonly logprob: number;
  readonly top: readonly (readonly [tokenId: number, logprob: number])[];
}

export interface CompletionRequest extends CheckedRequest {
  /** Tokens that a delta gathers before it goes out; the first token and the last ones never wait. */
  readonly streamInterval: number;
}

/** One completion of a request: from sampled ids to text, until a stop condition holds. */
export class Completion {
  readonly sequence: Sequence;
  readonly index: number;
  isFinished = false;
  readonly #request: CompletionRequest;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #decoder: StreamDecoder | undefined;
  readonly #stops: StopMatcher;
  /** Whether a token that does not end the completion has nothing to tell but its text, and that at once. */
  readonly #isPlain: boolean;
  /** Of the next delta. A token's id goes out when it is due, also when its text is held back. */
  #text = "";
  #tokenIds: number[] = [];
  #logprobs: TokenLogprob[] = [];

  constructor(sequence: Sequence, index: number, request: CompletionRequest, tokenizer: Tokenizer | undefined) {
    this.sequence = sequence;
    this.index = index;
    this.#request = request;
    this.#tokenizer = tokenizer;
    this.#decoder = tokenizer?.streamDecoder({ continuing: request.continuesPrompt });
    this.#stops = new StopMatcher(request.stop);
    this.#isPlain = request.streamInterval === 1 && this.#stops.isEmpty && sequence.sampling.topLogprobs < 0;
  }

  /**
   * `accept` of a token that only goes out, as nearly all do. @returns its text; undefined, with nothing taken, when the token
   * may be the last, has a log-probability to tell, or must be looked at for stop strings.
   */
  acceptPlain(tokenId: number): string | undefined {
    const { outputCount, maxTokens } = this.sequence;
    const isPlain = this.#isPlain && outputCount < maxTokens && !this.#request.stopIds.has(tokenId);
    return isPlain ? (this.#decoder?.pushToken(tokenId) ?? "") : undefined;
  }

  /** Takes the sequence's next token; the sequence already ends with it. */
  accept(token: SampledToken): GenerateEvent[] {
    const { tokenId } = token;
    const { minTokens } = this.sequence.sampling;
    const count = this.sequence.outputCount;
    if (this.#request.stopIds.has(tokenId) && count > minTokens) return this.#finish("stop", undefined, tokenId);

    this.#tokenIds.push(tokenId);
    if (this.sequence.sampling.topLogprobs >= 0) this.#logprobs.push(this.#describe(token));
    const piece = this.#decoder?.pushToken(tokenId) ?? "";
    // Stop strings are looked for only in text that comes after the minimum.
    const { text, stop } = count > minTokens ? this.#stops.push(piece) : { text: piece, stop: undefined };
    if (stop !== undefined) return this.#finish("stop", text, undefined, stop);
    this.#text += text;
    const isDue = count === 1 || this.#tokenIds.length >= this.#request.streamInterval;
    const events = isDue ? this.takeGathered() : [];
    if (count >= this.sequence.maxTokens) events.push(...this.#finish("length", undefined));
    return events;
  }

  /** The delta of the tokens that wait for more of them; none when no token waits. */
  takeGathered(): GenerateEvent[] {
    const text = this.#text;
    if (text === "" && this.#tokenIds.length === 0) return [];
    const event: GenerateEvent = {
      type: "delta",
      index: this.index,
      text,
      tokenIds: this.#tokenIds,
      logprobs: this.#logprobs,
    };
    this.#text = "";
    this.#tokenIds = [];
    this.#logprobs = [];
    return [event];
  }

  #finish(reason: FinishReason, text: string | undefined, stopTokenId?: number, stopText?: string): GenerateEvent[] {
    this.isFinished = true;
    // The tail of a text that a stop string cuts is dropped; otherwise what was held back belongs to the text.
    this.#text += text ?? this.#restOfText();
    return [...this.takeGathered(), { type: "finish", index: this.index, reason, stopText, stopTokenId }];
  }

  #restOfText(): string {
    const { text, stop } = this.#stops.push(this.#decoder?.finish() ?? "");
    return stop === undefined ? text + this.#stops.finish() : text;
  }

  #describe({ tokenId, logprob, top }: SampledToken): TokenLogprob {
    return {
      ...this.#describeId(tokenId),
      logprob,
      top: top.map(([id, value]) => ({ ...this.#describeId(id), logprob: value })),
    };
  }

  #describeId(tokenId: number): { tokenId: number; text: string; bytes: number[] } {
    const bytes = this.#tokenizer?.tokenBytes(tokenId) ?? new Uint8Array();
    return { tokenId, text: new TextDecoder().decode(bytes), bytes: [...bytes] };
  }
}
