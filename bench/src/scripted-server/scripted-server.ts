import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { DueQueue } from "../client/due-queue.ts";
import { LoadClock } from "../client/load-clock.ts";
import { type AnswerScript, parseAnswerScript } from "./answer-script.ts";

const chunkHead = '{"id":"cmpl-scripted","object":"text_completion","created":1,"model":"scripted","choices":[';
const chunkEvent = `data: ${chunkHead}{"index":0,"text":" token","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}\n\n`;

/** A server of /v1/completions that answers as the prompt tells it to: what a client measures can be held against what was. */
export class ScriptedServer {
  readonly #clock = new LoadClock(process.hrtime.bigint());
  readonly #due = new DueQueue(this.#clock);
  readonly #server: Server;
  #sentTimes = new Map<number, Float64Array>();

  constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        else refuse(response, 400, error instanceof Error ? error.message : String(error));
      });
    });
    // Connections last as long as the load, however long one of them has nothing to do.
    this.#server.keepAliveTimeout = 0;
  }

  /** @returns its port on the loopback address */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", 4096, resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#due.clear();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** As a server whose garbage is collected, whose disk does not answer: nothing is read, written or accepted. */
  stall(seconds: number): void {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
  }

  /** Forgets them. Nanoseconds of `process.hrtime`, by script. */
  takeSentTimes(): ReadonlyMap<number, Float64Array> {
    const times = this.#sentTimes;
    this.#sentTimes = new Map();
    return times;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const receivedAt = this.#clock.now();
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const script = parseAnswerScript(JSON.parse(Buffer.concat(pieces).toString("utf8")).prompt);
    const sentTimes = new Float64Array(script.delays.length);
    this.#sentTimes.set(script.id, sentTimes);
    this.#play(script, sentTimes, response, 0, receivedAt);
  }

  /** Each delay counts from when the one before should have ended, so that lateness does not add up. */
  #play(script: AnswerScript, sentTimes: Float64Array, response: ServerResponse, chunk: number, at: number): void {
    const { delays, status } = script;
    const nextAt = at + (delays[chunk] ?? 0);
    this.#due.add(nextAt, () => {
      if (response.destroyed) return;
      if (status !== undefined) return refuse(response, status, `refused with ${status}, as scripted`);
      if (chunk === 0) open(response);
      if (chunk < delays.length) {
        sentTimes[chunk] = Number(process.hrtime.bigint());
        write(response, chunkEvent);
      }
      if (chunk + 1 < delays.length) this.#play(script, sentTimes, response, chunk + 1, nextAt);
      else end(script, response);
    });
  }
}

function open(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
  response.flushHeaders();
}

/** A chunk (RFC 9112, section 7.1) in one piece, and so one packet: ServerResponse would make four of it. */
function write(response: ServerResponse, events: string): void {
  response.socket?.write(`${events.length.toString(16)}\r\n${events}\r\n`, "latin1");
}

function end({ end: how = "done", delays, tokensPerChunk = 1 }: AnswerScript, response: ServerResponse): void {
  if (how === "reset") {
    response.socket?.resetAndDestroy();
    return;
  }
  if (how === "error-event") write(response, 'data: {"error":{"message":"it broke, as scripted","code":500}}\n\n');
  if (how === "done") {
    const outputTokens = delays.length * tokensPerChunk;
    const usage = `{"prompt_tokens":1,"completion_tokens":${outputTokens},"total_tokens":${outputTokens + 1}}`;
    const finish = '{"index":0,"text":"","logprobs":null,"finish_reason":"length","stop_reason":null}],"usage":null}';
    write(response, `data: ${chunkHead}${finish}\n\ndata: ${chunkHead}],"usage":${usage}}\n\ndata: [DONE]\n\n`);
  }
  response.end();
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ error: { message, code: status } }));
}
