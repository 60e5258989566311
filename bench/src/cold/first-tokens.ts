import { request } from "node:http";
import { KvantError } from "@kvant/core";
import { EventStream } from "../client/event-stream.ts";

/** When one streamed request was sent and when its tokens came, by `performance.now`. */
export interface TokenTimes {
  readonly sentAt: number;
  /** `[tokens]`, at least two; tokens of one chunk share its time. */
  readonly tokensAt: readonly number[];
}

export interface FirstTokensOptions {
  readonly url: string;
  readonly promptIds: readonly number[];
  /** At least two. */
  readonly outputTokens: number;
  readonly signal: AbortSignal;
}

/**
 * Sends one greedy request over a connection of its own and times its tokens. It asks for the log-probability of each: without,
 * a token that is half a character, or any token of a model that has no tokenizer, would come without an event.
 * @throws KvantError INTERNAL if the answer is an error or has fewer tokens than asked for
 */
export async function firstTokens({ url, promptIds, outputTokens, signal }: FirstTokensOptions): Promise<TokenTimes> {
  const body = JSON.stringify({
    prompt: promptIds,
    max_tokens: outputTokens,
    temperature: 0,
    ignore_eos: true,
    logprobs: 0,
    stream: true,
  });
  const tokensAt: number[] = [];
  const pieces: Buffer[] = [];
  const sentAt = performance.now();
  const status = await new Promise<number>((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const sent = request(`${url}/v1/completions`, { method: "POST", agent: false, headers, signal }, (response) => {
      let now = 0;
      const events = new EventStream((data) => {
        for (let token = tokenCount(data); token > 0; token--) tokensAt.push(now);
      });
      response.on("data", (piece: Buffer) => {
        now = performance.now();
        pieces.push(piece);
        // A refusal is no stream of events, and is shown as it is.
        if (response.statusCode === 200) events.push(piece);
      });
      response.once("end", () => resolve(response.statusCode ?? 0));
      response.once("error", reject);
    });
    sent.once("error", reject);
    sent.end(body);
  });
  if (status !== 200 || tokensAt.length < outputTokens) {
    const said = Buffer.concat(pieces).toString("utf8");
    throw new KvantError(
      "INTERNAL",
      `the first request got status ${status} and ${tokensAt.length} of ${outputTokens} tokens: ${said.slice(-300)}`,
    );
  }
  return { sentAt, tokensAt };
}

/** Tokens in the data of one event; 0 for the stream's end, for what only says why it ended, and for an error. */
function tokenCount(data: string): number {
  if (!data.startsWith("{")) return 0;
  return JSON.parse(data).choices?.[0]?.logprobs?.tokens?.length ?? 0;
}
