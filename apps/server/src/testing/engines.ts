import { type Engine, startEngineProcess } from "@kvant/engine";
import { tinyModelPath } from "@kvant/tiny-model";
import { FakeEngine } from "./fake-engine.ts";

/** An engine that the client tests run against. */
export interface EngineCase {
  readonly name: string;
  readonly start: () => Promise<Engine>;
}

/** The built-in model as `kvant serve` starts it: INT8 weights and KV pages, in a process of its own. */
function startBuiltIn(): Promise<Engine> {
  return startEngineProcess({
    model: tinyModelPath,
    weights: "int8-channel",
    kvFormat: "int8",
    threads: 2,
    checkInvariant: true,
  });
}

/** One row per engine; every client test holds for all of them. */
export const engineCases: readonly EngineCase[] = [
  { name: "the fake engine", start: async () => new FakeEngine() },
  { name: "the built-in model's engine", start: startBuiltIn },
];
