import { Type } from "typebox";
import { isReady } from "../../server-context.ts";
import type { RouteRegistration } from "../route-registration.ts";

const stateSchema = Type.Object({ status: Type.String(), engine: Type.String() });

export const healthRoute: RouteRegistration = (app, { engine }) => {
  app.get(
    "/health",
    {
      config: { access: "public" },
      logLevel: "silent",
      schema: {
        tags: ["Operations"],
        summary: "Live: the server process answers",
        response: { 200: stateSchema },
      },
    },
    () => ({ status: "ok", engine: engine.state }),
  );
};

export const readyRoute: RouteRegistration = (app, context) => {
  app.get(
    "/ready",
    {
      config: { access: "public" },
      schema: {
        tags: ["Operations"],
        summary: "Ready: a request sent now would be taken",
        response: { 200: stateSchema, 503: stateSchema },
      },
    },
    (_request, reply) => {
      const { engine, gate } = context;
      if (isReady(context)) return { status: "ready", engine: engine.state };
      reply.code(503);
      return { status: gate.isShut ? "draining" : "unavailable", engine: engine.state };
    },
  );
};
