import { Type } from "typebox";
import type { RouteRegistration } from "../route-registration.ts";
import { errorAnswers } from "../schemas/answer-schema.ts";

export const metricsRoute: RouteRegistration = (app, { metrics }) => {
  app.get(
    "/metrics",
    {
      config: { access: "operations" },
      schema: {
        tags: ["Operations"],
        summary: "Metrics in Prometheus text format",
        produces: ["text/plain"],
        response: { 200: Type.String(), ...errorAnswers },
      },
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.expose()),
  );
};

export const versionRoute: RouteRegistration = (app, { version }) => {
  app.get(
    "/version",
    {
      config: { access: "api" },
      schema: {
        tags: ["Operations"],
        summary: "Versions of Kvant and of Node",
        response: { 200: Type.Object({ version: Type.String(), node: Type.String() }), ...errorAnswers },
      },
    },
    () => ({ version, node: process.versions.node }),
  );
};

export const openApiRoute: RouteRegistration = (app) => {
  let document: object | undefined;
  app.get(
    "/openapi.json",
    {
      config: { access: "api" },
      schema: {
        tags: ["Operations"],
        summary: "This API as an OpenAPI 3.1 document",
        response: { 200: Type.Object({}, { additionalProperties: true }), ...errorAnswers },
      },
    },
    () => {
      document ??= app.swagger();
      return document;
    },
  );
};
