import type { Engine } from "@kvant/engine";
import { FakeEngine } from "./fake-engine.ts";

/** An engine that the client tests run against. */
export interface EngineCase {
  readonly name: string;
  readonly start: () => Promise<Engine>;
}

/** One row per engine; every client test holds for all of them. */
export const engineCases: readonly EngineCase[] = [{ name: "the fake engine", start: async () => new FakeEngine() }];
