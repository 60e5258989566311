import swagger from "@fastify/swagger";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { errorCode, KvantError, limit } from "@kvant/core";
import { type FastifyReply, fastify } from "fastify";
import type { TSchema } from "typebox";
import { errorBody, statusOf } from "../error-statuses.ts";
import { parserOf } from "../request-schema.ts";
import type { ServerContext } from "../server-context.ts";
import { answerClientError, requestError } from "./http-errors.ts";
import { watchMethods } from "./method-guard.ts";
import { recordAnswer, recordFault } from "./request-log.ts";
import type { HttpApp } from "./route-registration.ts";
import { routes } from "./routes.ts";

// A body of the largest size takes seconds on the slowest links; more is a connection held open on purpose.
const requestTimeoutMilliseconds = 60_000;

/** The HTTP API as a Fastify instance, not yet listening. */
export async function createHttpApp(context: ServerContext): Promise<HttpApp> {
  const app = fastify({
    logger: false,
    bodyLimit: limit("bodyBytes"),
    requestTimeout: requestTimeoutMilliseconds,
    routerOptions: { maxParamLength: 512 },
    http: { maxHeaderSize: limit("headerBytes"), noDelay: true },
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, _request, reply) => {
      sendError(requestError(error), reply as FastifyReply);
    },
    forceCloseConnections: "idle",
  }).withTypeProvider<TypeBoxTypeProvider>();

  app.removeContentTypeParser("text/plain");
  app.setValidatorCompiler(({ schema }) => {
    const parse = parserOf(schema as TSchema);
    return (value: unknown) => {
      try {
        return { value: parse(value) };
      } catch (error) {
        return { error: error as KvantError };
      }
    };
  });
  // Response schemas are documentation: answers are built by typed code, and compiled serializers would drop what they do not know.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.decorateRequest("usage", undefined);
  app.decorateRequest("streamError", undefined);
  app.addHook("onRequest", async (request, reply) => {
    recordAnswer(context, request, reply);
    context.keys.check(request.headers.authorization, request.routeOptions.config?.access ?? "api");
  });
  app.setErrorHandler((error, _request, reply) => {
    const known = requestError(error);
    recordFault(context, known, statusOf(errorCode(known)).http);
    sendError(known, reply);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "";
    sendError(
      new KvantError("ROUTE_NOT_FOUND", `${request.method} ${path.slice(0, 128)} is not served; see /openapi.json`),
      reply,
    );
  });
  await registerRoutes(app, context);
  return app;
}

function sendError(error: unknown, reply: FastifyReply): void {
  const { http, retryAfterSeconds } = statusOf(errorCode(error));
  if (retryAfterSeconds !== undefined) reply.header("retry-after", String(retryAfterSeconds));
  if (http === 401) reply.header("www-authenticate", "Bearer");
  reply.code(http).send(errorBody(error));
}

async function registerRoutes(app: HttpApp, context: ServerContext): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Kvant",
        description: "Serves a quantized language model with OpenAI's completion routes.",
        version: context.version,
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      components: { securitySchemes: { key: { type: "http", scheme: "bearer" } } },
      security: [{ key: [] }],
    },
  });
  const guardMethods = watchMethods(app);
  for (const register of routes) register(app, context);
  guardMethods();
}
