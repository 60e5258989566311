import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

export interface ReplayServer {
  readonly url: string;
  /** Bodies of the requests so far, parsed. */
  readonly requests: readonly Record<string, unknown>[];
  /** Connections so far. */
  readonly sockets: readonly Socket[];
  [Symbol.asyncDispose](): Promise<void>;
}

/** A server whose answers are given by a function of the request's number, for what no well-behaved server does. */
export async function replayServer(
  answer: (response: ServerResponse, number: number, request: IncomingMessage) => void,
): Promise<ReplayServer> {
  const requests: Record<string, unknown>[] = [];
  const sockets: Socket[] = [];
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    requests.push(JSON.parse(Buffer.concat(pieces).toString("utf8")));
    answer(response, requests.length - 1, request);
  });
  server.on("connection", (socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    sockets,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** An event stream of these bytes, each piece by itself. */
export async function stream(response: ServerResponse, pieces: readonly Buffer[]): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (const piece of pieces) {
    response.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  response.end();
}
