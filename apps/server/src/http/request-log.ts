import { errorCode, KvantError } from "@kvant/core";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { ServerContext } from "../server-context.ts";

/** Counts an answer and logs its one line when its socket is done with it, however it ended. Never the prompt or the text. */
export function recordAnswer(
  { logger, metrics }: Pick<ServerContext, "logger" | "metrics">,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const started = performance.now();
  reply.raw.once("close", () => {
    const route = request.routeOptions.url ?? "unknown";
    const status = reply.raw.writableFinished ? reply.raw.statusCode : 499;
    metrics.requests.answered("http", route, status);
    const { usage, streamError } = request;
    const line = {
      method: request.method,
      route,
      status,
      ms: Math.round((performance.now() - started) * 10) / 10,
      ...(usage === undefined
        ? {}
        : {
            promptTokens: usage.promptTokens,
            completionTokens: usage.completionTokens,
            cachedTokens: usage.cachedTokens,
          }),
      ...(streamError === undefined ? {} : { error: errorCode(streamError) }),
    };
    if (request.routeOptions.config.access === "public") logger.debug(line, "request");
    else logger.info(line, "request");
  });
}

/** Logs what is the server's own fault with its stack; a KvantError that blames the request is in the answer already. */
export function recordFault({ logger }: Pick<ServerContext, "logger">, error: unknown, status: number): void {
  if (status < 500) return;
  if (error instanceof KvantError && status !== 500) logger.warn({ error: error.code }, error.message);
  else logger.error({ err: error }, "request failed");
}
