import type { Engine } from "@kvant/engine";
import type { Logger } from "pino";
import type { GenerationGate } from "./generation-gate.ts";
import type { KeyRing } from "./key-ring.ts";
import type { ServerMetrics } from "./metrics/server-metrics.ts";
import type { ServedModel } from "./served-model.ts";

/** What every route and RPC works with. */
export interface ServerContext {
  readonly engine: Engine;
  readonly model: ServedModel;
  readonly gate: GenerationGate;
  readonly keys: KeyRing;
  readonly metrics: ServerMetrics;
  readonly logger: Logger;
  readonly version: string;
  readonly keepAliveMilliseconds: number;
}

/** True when a request sent now would be taken. */
export function isReady({ engine, gate }: Pick<ServerContext, "engine" | "gate">): boolean {
  return engine.state === "ready" && !gate.isShut;
}
