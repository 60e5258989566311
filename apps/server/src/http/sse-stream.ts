import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyReply } from "fastify";
import type { TextFrame } from "./text-frame.ts";

/**
 * One answer as server-sent events (WHATWG HTML, "Server-sent events"). It opens with its first write, so that a request
 * refused before its first token is still answered with a proper status.
 */
export class SseStream {
  readonly #reply: FastifyReply;
  readonly #response: ServerResponse;
  readonly #keepAlive: NodeJS.Timeout;
  #open = false;
  #isGone = false;
  #wroteSinceTick = false;
  #draining: Promise<void> | undefined;
  /** Where chunks are framed here; undefined: the response frames them. */
  #socket: Socket | undefined;

  /** `keepAliveMilliseconds` of silence send a comment, which readers skip and proxies count as life. */
  constructor(reply: FastifyReply, keepAliveMilliseconds: number) {
    this.#reply = reply;
    this.#response = reply.raw;
    this.#keepAlive = setInterval(() => this.#tick(), keepAliveMilliseconds);
    this.#isGone = this.#response.destroyed;
    this.#response.once("close", () => {
      this.#isGone = true;
      clearInterval(this.#keepAlive);
    });
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Writes whole events. The promise, where there is one, resolves when the reader has caught up or gone. */
  write(events: string): Promise<void> | undefined {
    return this.#write(events, Buffer.byteLength(events));
  }

  /** Writes the event of a text: what most tokens are, and so the one that counts. */
  writeText(frame: TextFrame, text: string): Promise<void> | undefined {
    const json = JSON.stringify(text);
    return this.#write(frame.event(json), frame.byteLength(json));
  }

  end(): void {
    clearInterval(this.#keepAlive);
    if (this.#open) this.#response.end();
  }

  #start(): void {
    this.#open = true;
    this.#reply.hijack();
    this.#response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      // nginx would gather the events into pages.
      "x-accel-buffering": "no",
    });
    this.#response.flushHeaders();
    // An answer that waits behind another one of its connection has no socket yet; HTTP/1.0 has no chunks.
    if (this.#response.chunkedEncoding) this.#socket = this.#response.socket ?? undefined;
  }

  #write(events: string, byteLength: number): Promise<void> | undefined {
    if (this.#isGone) return undefined;
    if (!this.#open) this.#start();
    this.#wroteSinceTick = true;
    return this.#send(events, byteLength) ? undefined : this.#drained();
  }

  /** A chunk (RFC 9112, section 7.1) in one piece: ServerResponse makes four of it, at twice the cost of all else in a token. */
  #send(events: string, byteLength: number): boolean {
    if (this.#socket === undefined) return this.#response.write(events);
    // As Latin-1, ASCII is copied to the socket as it is; UTF-8 would be encoded character by character.
    const encoding = byteLength === events.length ? "latin1" : "utf8";
    return this.#socket.write(`${byteLength.toString(16)}\r\n${events}\r\n`, encoding);
  }

  #tick(): void {
    const isFull = this.#socket?.writableNeedDrain ?? this.#response.writableNeedDrain;
    if (!this.#wroteSinceTick && !isFull) this.write(": waiting\n\n");
    this.#wroteSinceTick = false;
  }

  #drained(): Promise<void> {
    // Completions of one request share the socket and so the wait.
    this.#draining ??= new Promise((resolve) => {
      const source = this.#socket ?? this.#response;
      const settle = () => {
        source.off("drain", settle);
        this.#response.off("close", settle);
        this.#draining = undefined;
        resolve();
      };
      source.once("drain", settle);
      this.#response.once("close", settle);
    });
    return this.#draining;
  }
}
