import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type { Usage } from "@kvant/engine";
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import type { Access } from "../key-ring.ts";
import type { ServerContext } from "../server-context.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** Who may call the route; a route that does not say is guarded as `api`. */
    access?: Access;
  }
  interface FastifyRequest {
    /** Tokens of a finished generation, for the log. */
    usage: Usage | undefined;
    /** What broke an answer after its head was sent. */
    streamError: unknown;
  }
}

export type HttpApp = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** One endpoint: a file that exports one of these and a line in `routes.ts`. */
export type RouteRegistration = (app: HttpApp, context: ServerContext) => void;
