import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { errorCode } from "@kvant/core";
import type { ChatMessage, PlannedRequest } from "../load/planned-request.ts";
import type { Answer, Failure } from "./answer.ts";
import { ChunkReader, errorSentence } from "./answer-chunk.ts";
import { EventStream } from "./event-stream.ts";
import type { LoadTarget } from "./load-target.ts";
import { type Cancel, chatMessages, type LoadTransport } from "./load-transport.ts";

/** Of the body of a refusal; more is a page for people. */
const refusalBytes = 16 * 1024;
const sentenceCharacters = 300;
/** Node keeps 256; a load of more streams would connect anew with each request. */
const mostFreeConnections = 65_536;

/** Between `[DONE]` and the end of the stream; it comes in the same packet from all but servers that leave the stream open. */
const endMilliseconds = 100;

/** Streams of /v1/completions or /v1/chat/completions, over connections that are kept. */
export class HttpTransport implements LoadTransport {
  readonly #target: LoadTarget;
  readonly #url: string;
  readonly #agent: HttpAgent;
  readonly #request: typeof httpRequest;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(target: LoadTarget) {
    const isSecure = target.url.startsWith("https:");
    this.#target = target;
    this.#url = `${target.url.replace(/\/+$/, "")}${target.dialect === "openai-chat" ? "/v1/chat/completions" : "/v1/completions"}`;
    // Of free connections the one used last: a server closes the others when a load falls, and none under a request.
    const options = { keepAlive: true, scheduling: "lifo", maxFreeSockets: mostFreeConnections } as const;
    this.#agent = isSecure ? new HttpsAgent(options) : new HttpAgent(options);
    this.#request = isSecure ? httpsRequest : httpRequest;
    this.#headers = {
      "content-type": "application/json",
      accept: "text/event-stream",
      ...(target.apiKey === undefined ? {} : { authorization: `Bearer ${target.apiKey}` }),
    };
  }

  send(answer: Answer, history: readonly ChatMessage[]): Cancel {
    const body = Buffer.from(JSON.stringify(requestBody(this.#target, answer.request, history)));
    answer.sentAt = answer.now();
    return this.#attempt(answer, body);
  }

  close(): void {
    this.#agent.destroy();
  }

  #attempt(answer: Answer, body: Buffer): Cancel {
    const headers = { ...this.#headers, "content-length": body.length };
    let cancelNext: Cancel | undefined;
    let breakOff: ((error: Error) => void) | undefined;
    const sent = this.#request(this.#url, { method: "POST", agent: this.#agent, headers }, (response) => {
      const isStream = response.statusCode === 200 && isEventStream(response);
      breakOff = isStream ? readStream(response, answer) : readRefusal(response, answer);
    });
    sent.on("error", (error: NodeJS.ErrnoException) => {
      if (answer.hasEnded) return;
      // A kept connection that the server closed while the request was on its way: nobody has seen it (RFC 9112, 9.3.1). The next
      // one may be such a connection too; a new one ends it.
      if (sent.reusedSocket && error.code === "ECONNRESET" && breakOff === undefined) {
        cancelNext = this.#attempt(answer, body);
        return;
      }
      // The socket's own error comes here first, whether or not the answer has begun.
      if (breakOff === undefined) answer.end({ kind: "connect", message: sentenceOf(error) });
      else breakOff(error);
    });
    sent.end(body);
    return (failure) => {
      answer.end(failure);
      sent.destroy();
      cancelNext?.(failure);
    };
  }
}

/** What a request asks, in the words of the dialect. */
export function requestBody(
  { dialect, model, temperature = 0, extraBody }: LoadTarget,
  request: PlannedRequest,
  history: readonly ChatMessage[],
): Record<string, unknown> {
  const { prompt, maxTokens, isFixedLength } = request;
  const asked =
    dialect === "openai-chat"
      ? { messages: chatMessages(request, history) }
      : { prompt: prompt.kind === "tokens" ? prompt.tokenIds : prompt.kind === "text" ? prompt.text : undefined };
  return {
    model,
    ...asked,
    max_tokens: maxTokens,
    temperature,
    stream: true,
    stream_options: { include_usage: true },
    ...(isFixedLength ? { ignore_eos: true } : {}),
    ...extraBody,
  };
}

/** @returns ends the answer when the connection breaks */
function readStream(response: IncomingMessage, answer: Answer): (error: Error) => void {
  const chunks = new ChunkReader();
  const events = new EventStream((data, name) => {
    if (chunks.isDone) return;
    const { text, tokens } = chunks.read(data, name);
    answer.chunk(text, tokens);
    if (chunks.error === undefined) return;
    answer.end({ kind: "stream-error", message: shortened(chunks.error) });
    // The server may leave the stream open, and the connection would stay with it.
    response.destroy();
  });
  let leftOpen: NodeJS.Timeout | undefined;
  const read = (take: () => void): void => {
    try {
      take();
    } catch (error) {
      // Neither framing nor JSON: whoever is at the other end speaks another language.
      if (!(error instanceof SyntaxError) && errorCode(error) === "INTERNAL") throw error;
      answer.end({ kind: "protocol", message: `a chunk could not be read: ${sentenceOf(error)}` });
      response.destroy();
    }
    if (!chunks.isDone || chunks.error !== undefined || answer.hasEnded) return;
    answer.complete(chunks.usage, chunks.finishReason);
    // The stream's own end frees the connection for the next request, so it has a moment.
    leftOpen ??= setTimeout(() => {
      finish();
      response.destroy();
    }, endMilliseconds);
  };
  const finish = (broken?: Error): void => {
    if (answer.hasEnded) return;
    if (broken === undefined) read(() => events.end());
    clearTimeout(leftOpen);
    answer.usage = chunks.usage;
    answer.finishReason = chunks.finishReason;
    answer.end(streamFailure(chunks, answer, broken));
  };
  response.on("data", (piece: Buffer) => read(() => events.push(piece)));
  response.once("end", () => finish());
  response.once("error", finish);
  return finish;
}

/** A finish reason will do in place of `[DONE]`: some servers forget it. */
function streamFailure(chunks: ChunkReader, answer: Answer, broken: Error | undefined): Failure | undefined {
  if (chunks.isDone || (broken === undefined && chunks.finishReason !== undefined)) return undefined;
  const why =
    broken === undefined ? "without [DONE] or a finish reason" : `as the connection broke: ${sentenceOf(broken)}`;
  return { kind: "cut-off", message: `the stream ended after ${answer.chunkCount} chunks ${why}` };
}

function readRefusal(response: IncomingMessage, answer: Answer): () => void {
  const pieces: Buffer[] = [];
  let length = 0;
  const finish = (): void => {
    const text = Buffer.concat(pieces).toString("utf8");
    const { statusCode: status = 0 } = response;
    const said = refusalSentence(text);
    const type = response.headers["content-type"] ?? "no content type";
    if (status === 200) answer.end({ kind: "protocol", status, message: `no event stream but ${type}: ${said}` });
    else answer.end({ kind: "status", status, message: `status ${status}: ${said}` });
  };
  response.on("data", (piece: Buffer) => {
    pieces.push(piece);
    length += piece.length;
    if (length < refusalBytes) return;
    finish();
    response.destroy();
  });
  response.once("end", finish);
  response.once("error", finish);
  return finish;
}

/** Of JSON the error's sentence, of HTML its words. */
function refusalSentence(body: string): string {
  try {
    const value: unknown = JSON.parse(body);
    const sentence = errorSentence(value, "error");
    if (sentence !== undefined) return shortened(sentence);
  } catch {
    // Not JSON: a proxy's page or plain text.
  }
  const words = body
    .replace(/<(style|script|title)\b[^>]*>.*?<\/\1>/gis, " ")
    .replace(/<[^>]*>/g, " ")
    .replace(/\s+/g, " ")
    .trim();
  return words === "" ? "without a body" : shortened(words);
}

function isEventStream(response: IncomingMessage): boolean {
  return response.headers["content-type"]?.toLowerCase().startsWith("text/event-stream") ?? false;
}

/** Failed connections to a host of several addresses come as an AggregateError without a message of its own. */
function sentenceOf(error: unknown): string {
  if (error instanceof AggregateError) return shortened(error.errors.map(sentenceOf).join("; "));
  return shortened(error instanceof Error ? error.message || error.name : String(error));
}

function shortened(text: string): string {
  return text.length <= sentenceCharacters ? text : `${text.slice(0, sentenceCharacters)}…`;
}
