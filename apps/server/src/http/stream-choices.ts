import type { EventTaker, GenerateEvent, GenerateRequest, Usage } from "@kvant/engine";
import { errorBody } from "../error-statuses.ts";
import type { Generation } from "../generation-gate.ts";
import { addUsage, noUsage } from "./answer-parts.ts";
import type { SseStream } from "./sse-stream.ts";
import type { TextFrame } from "./text-frame.ts";

type Delta = Extract<GenerateEvent, { type: "delta" }>;
type Finish = Extract<GenerateEvent, { type: "finish" }>;

/** Turns events into the chunks of one route, as text that is ready for the socket. */
export interface ChunkWriter {
  /** Before the first token of choice `index`; may be empty. */
  begin(index: number): string;
  /** The chunk of a delta of choice `index`, whose text is all that it tells; undefined: it tells of tokens too. */
  frame(index: number): TextFrame | undefined;
  /** Where there is no frame; may be empty. */
  delta(index: number, delta: Delta): string;
  finish(index: number, finish: Finish): string;
  /** After the last choice; empty when the client did not ask for usage. */
  usage(usage: Usage): string;
}

/**
 * Runs all prompts at once and writes their completions as they come. Each prompt waits for the socket on its own before it
 * pulls again: the engine then merges what gathers, so a slow reader costs memory for one delta per completion.
 * What it throws has also gone out as an event if the stream was open.
 */
export async function streamChoices(
  generation: Generation,
  requests: readonly GenerateRequest[],
  chunks: ChunkWriter,
  stream: SseStream,
): Promise<Usage> {
  const takers = requests.map((request, promptIndex) => new ChoiceStream(chunks, stream, promptIndex, request.n ?? 1));
  try {
    await Promise.all(requests.map((request, promptIndex) => generation.run(request, takers[promptIndex]!)));
    const usage = takers.reduce((sum, taker) => addUsage(sum, taker.usage), noUsage);
    stream.write(`${chunks.usage(usage)}data: [DONE]\n\n`);
    return usage;
  } catch (error) {
    if (stream.isOpen) stream.write(`data: ${JSON.stringify(errorBody(error))}\n\n`);
    throw error;
  } finally {
    stream.end();
  }
}

/** The completions of one prompt on their way into the stream. Every token passes here: what it needs lies at hand. */
class ChoiceStream implements EventTaker {
  usage = noUsage;
  readonly #chunks: ChunkWriter;
  readonly #stream: SseStream;
  readonly #firstIndex: number;
  /** By completion. */
  readonly #frames: readonly (TextFrame | undefined)[];
  readonly #begun: boolean[];
  #unbegunCount: number;

  constructor(chunks: ChunkWriter, stream: SseStream, promptIndex: number, count: number) {
    this.#chunks = chunks;
    this.#stream = stream;
    this.#firstIndex = promptIndex * count;
    this.#frames = Array.from({ length: count }, (_, i) => chunks.frame(this.#firstIndex + i));
    this.#begun = new Array<boolean>(count).fill(false);
    this.#unbegunCount = count;
  }

  take(event: GenerateEvent): Promise<void> | undefined {
    if (event.type === "delta" && this.#unbegunCount === 0) {
      const frame = this.#frames[event.index];
      if (frame !== undefined) return event.text === "" ? undefined : this.#stream.writeText(frame, event.text);
    }
    if (event.type === "done") {
      this.usage = event.usage;
      return undefined;
    }
    const text =
      event.type === "delta" ? this.#delta(event) : this.#chunks.finish(this.#firstIndex + event.index, event);
    // Tokens without text yet (half a character, a held-back stop string) make no chunk.
    return text === "" ? undefined : this.#stream.write(this.#begin(event.index) + text);
  }

  #delta(event: Delta): string {
    const frame = this.#frames[event.index];
    if (frame === undefined) return this.#chunks.delta(this.#firstIndex + event.index, event);
    return event.text === "" ? "" : frame.event(JSON.stringify(event.text));
  }

  #begin(index: number): string {
    if (this.#begun[index] !== false) return "";
    this.#begun[index] = true;
    this.#unbegunCount--;
    return this.#chunks.begin(this.#firstIndex + index);
  }
}
