import { spawnSync } from "node:child_process";
import { measureCost, type SchemeCost } from "@kvant/bench";
import { KvantError } from "@kvant/core";
import type { EngineOptions } from "@kvant/engine";
import { printRow } from "../print.ts";

/** The hidden command that a measured process runs; engine options follow as JSON. */
export const costProcessCommand = "eval-cost";

/** Measures one scheme in a fresh process, so that peak memory and the cold start are this scheme's alone. */
export function costApart(engine: EngineOptions): SchemeCost {
  const args = [...process.execArgv, process.argv[1]!, costProcessCommand, JSON.stringify(engine)];
  const { status, signal, stdout } = spawnSync(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (status === 0) return JSON.parse(stdout);
  throw new KvantError(
    "ENGINE_DIED",
    `measuring the cost of ${engine.weights ?? "stored"} weights ended with ${signal ?? status}`,
  );
}

/** The child's side. */
export async function costProcess(engine: string): Promise<void> {
  printRow(await measureCost({ engine: JSON.parse(engine) }));
}
