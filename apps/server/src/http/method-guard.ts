import { KvantError } from "@kvant/core";
import type { HTTPMethods } from "fastify";
import type { HttpApp } from "./route-registration.ts";

const guarded: readonly HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/**
 * Answers 405 with `Allow` for every path that is served under another method; without it the router says 404. Call before
 * the routes are registered, and the returned function after.
 */
export function watchMethods(app: HttpApp): () => void {
  const methodsByUrl = new Map<string, Set<string>>();
  app.addHook("onRoute", ({ url, method }) => {
    const methods = methodsByUrl.get(url) ?? new Set();
    methodsByUrl.set(url, methods);
    for (const one of [method].flat()) methods.add(one);
  });
  return () => {
    for (const [url, methods] of [...methodsByUrl]) {
      const allowed = [...methods].sort().join(", ");
      app.route({
        url,
        method: guarded.filter((method) => !methods.has(method)),
        schema: { hide: true },
        // Thrown before the body is read: what the body holds does not matter here.
        onRequest: async (request, reply) => {
          reply.header("allow", allowed);
          throw new KvantError(
            "METHOD_NOT_ALLOWED",
            `${request.method} ${url} is not served; this route takes ${allowed}`,
          );
        },
        handler: () => undefined,
      });
    }
  };
}
