import { Agent, request } from "node:http";

/** What a client saw of one stream; times in milliseconds. */
export interface StreamResult {
  readonly firstToken: number | undefined;
  /** Between tokens; tokens that arrive together share the gap. */
  readonly gaps: readonly number[];
  readonly completionTokens: number;
  /** Why it failed; undefined for a stream that ended as it should. */
  readonly failure: string | undefined;
}

export interface StreamLoadOptions {
  readonly url: string;
  /** Open at once. */
  readonly streams: number;
  readonly requests: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly vocabularySize: number;
  /** Streams that are open then are cut off and count as failed. */
  readonly signal: AbortSignal;
}

// The usage object stands in the last kilobyte of a stream.
const tailBytes = 1024;
const newline = 10;

/** Sends requests over as many connections as streams, each on its heels. One result per request. */
export async function runStreams(options: StreamLoadOptions): Promise<readonly StreamResult[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: options.streams });
  const results: StreamResult[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < options.requests && !options.signal.aborted) results.push(await runStream(agent, options, next++));
  };
  try {
    await Promise.all(Array.from({ length: options.streams }, worker));
  } finally {
    agent.destroy();
  }
  return results;
}

function runStream(agent: Agent, options: StreamLoadOptions, index: number): Promise<StreamResult> {
  const { url, outputTokens, promptTokens, vocabularySize, signal } = options;
  const body = JSON.stringify({
    prompt: promptIds(vocabularySize, promptTokens, index),
    max_tokens: outputTokens,
    temperature: 0,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  });
  return new Promise((resolve) => {
    const startedAt = performance.now();
    const counter = new EventCounter();
    const gaps: number[] = [];
    let [firstToken, lastAt] = [undefined as number | undefined, startedAt];
    let tail = Buffer.alloc(0);
    const finish = (failure: string | undefined): void => {
      const usage = /"completion_tokens":(\d+)/.exec(tail.toString("utf8"));
      const completionTokens = Number(usage?.[1] ?? 0);
      const isShort = completionTokens !== outputTokens;
      const sentence = failure ?? (isShort ? `it gave ${completionTokens} of ${outputTokens} tokens` : undefined);
      resolve({ firstToken, gaps, completionTokens, failure: sentence });
    };
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const sent = request(`${url}/v1/completions`, { method: "POST", agent, headers, signal }, (response) => {
      response.on("data", (chunk: Buffer) => {
        const now = performance.now();
        const events = counter.count(chunk);
        tail = Buffer.concat([tail, chunk]).subarray(-tailBytes);
        if (events === 0 || response.statusCode !== 200) return;
        const gap = (now - lastAt) / events;
        // The events after the last token (its finish, usage, the end) come with it.
        const tokens = Math.min(events, outputTokens - gaps.length - (firstToken === undefined ? 0 : 1));
        for (let token = 0; token < tokens; token++) {
          if (firstToken === undefined) firstToken = now - startedAt;
          else gaps.push(gap);
        }
        lastAt = now;
      });
      response.once("end", () => {
        const text = tail.toString("utf8");
        if (response.statusCode !== 200) finish(`status ${response.statusCode}: ${text.slice(0, 300)}`);
        else finish(text.endsWith("data: [DONE]\n\n") ? undefined : `it ended with ${text.slice(-300)}`);
      });
      response.once("error", (error) => finish(error.message));
    });
    sent.once("error", (error) => finish(error.message));
    sent.end(body);
  });
}

/** Counts server-sent events, which end with an empty line; JSON holds no line breaks. Parsing 20,000 a second would cost a core. */
class EventCounter {
  #endsWithBreak = false;

  count(chunk: Buffer): number {
    let events = this.#endsWithBreak && chunk[0] === newline ? 1 : 0;
    for (let at = chunk.indexOf("\n\n"); at !== -1; at = chunk.indexOf("\n\n", at + 2)) events++;
    this.#endsWithBreak = chunk.at(-1) === newline && chunk.at(-2) !== newline;
    return events;
  }
}

/** Ids that differ from stream to stream from the first on, so that no prefix is shared, and keep clear of special ids. */
function promptIds(vocabularySize: number, count: number, salt: number): number[] {
  const low = Math.min(16, vocabularySize - 1);
  return Array.from(
    { length: count },
    (_, i) => low + (((i + 1) * 7919 + (salt + 1) * 104_729) % (vocabularySize - low)),
  );
}
