import type { RouteRegistration } from "./route-registration.ts";
import { chatCompletionsRoute } from "./routes/chat-completions.ts";
import { completionsRoute } from "./routes/completions.ts";
import { healthRoute, readyRoute } from "./routes/health.ts";
import { modelsRoute } from "./routes/models.ts";
import { metricsRoute, openApiRoute, versionRoute } from "./routes/operations.ts";
import { detokenizeRoute, tokenizeRoute } from "./routes/tokenize.ts";

/** Every endpoint of the HTTP API. */
export const routes: readonly RouteRegistration[] = [
  completionsRoute,
  chatCompletionsRoute,
  modelsRoute,
  tokenizeRoute,
  detokenizeRoute,
  healthRoute,
  readyRoute,
  metricsRoute,
  versionRoute,
  openApiRoute,
];
