import { setTimeout as delay } from "node:timers/promises";
import type { Engine } from "@kvant/engine";
import type { ServerOptions } from "../server-options.ts";
import { type RunningServer, startServer } from "../start-server.ts";

/** A server under test with what it logged. */
export interface Served extends AsyncDisposable {
  readonly server: RunningServer;
  readonly url: string;
  /** Log lines as objects. */
  readonly log: readonly Record<string, unknown>[];
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
}

/** Serves an engine on free ports until the scope ends. */
export async function serve(engine: Engine, options: ServerOptions = {}): Promise<Served> {
  const log: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void log.push(JSON.parse(line)) };
  const server = await startServer(engine, { logger: { level: "info", destination }, ...options });
  const url = server.httpAddress;
  return {
    server,
    url,
    log,
    post: (path, body, headers = {}) =>
      fetch(url + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    get: (path, headers = {}) => fetch(url + path, { headers }),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

/** Resolves when a condition holds; fails after ten seconds with what was waited for. */
export async function eventually(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ten seconds in vain for ${what}`);
    await delay(2);
  }
}

/** The `data:` payloads of a whole event stream, comments left out. */
export function eventData(stream: string): string[] {
  return stream
    .split("\n\n")
    .filter((event) => event.startsWith("data: "))
    .map((event) => event.slice("data: ".length));
}
