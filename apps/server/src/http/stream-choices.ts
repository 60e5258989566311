import type { GenerateEvent, GenerateRequest, Usage } from "@kvant/engine";
import { errorBody } from "../error-statuses.ts";
import type { Generation } from "../generation-gate.ts";
import { addUsage, noUsage } from "./answer-parts.ts";
import type { SseStream } from "./sse-stream.ts";

type Delta = Extract<GenerateEvent, { type: "delta" }>;
type Finish = Extract<GenerateEvent, { type: "finish" }>;

/** Turns events into the chunks of one route, as text that is ready for the socket. */
export interface ChunkWriter {
  /** Before the first token of choice `index`; may be empty. */
  begin(index: number): string;
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
  let usage = noUsage;
  const begun: boolean[] = [];
  const write = (request: GenerateRequest, promptIndex: number) =>
    generation.run(request, (event) => {
      if (event.type === "done") {
        usage = addUsage(usage, event.usage);
        return undefined;
      }
      const index = promptIndex * (request.n ?? 1) + event.index;
      let text = event.type === "delta" ? chunks.delta(index, event) : chunks.finish(index, event);
      // Tokens without text yet (half a character, a held-back stop string) make no chunk.
      if (text === "") return undefined;
      if (begun[index] !== true) {
        begun[index] = true;
        text = chunks.begin(index) + text;
      }
      return stream.write(text);
    });
  try {
    await Promise.all(requests.map(write));
    stream.write(`${chunks.usage(usage)}data: [DONE]\n\n`);
  } catch (error) {
    if (stream.isOpen) stream.write(`data: ${JSON.stringify(errorBody(error))}\n\n`);
    throw error;
  } finally {
    stream.end();
  }
  return usage;
}
