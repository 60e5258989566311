import { createHash } from "node:crypto";
import { KvantError } from "@kvant/core";
import type { Engine, ModelInfo } from "@kvant/engine";
import { readyModel } from "./metrics/engine-metrics.ts";
import { shorten } from "./schema-fault.ts";

/** The engine's model under the name that clients use. */
export class ServedModel {
  /** Unix seconds at which this server began to serve it. */
  readonly created = Math.floor(Date.now() / 1000);
  readonly #engine: Engine;
  readonly #name: string | undefined;

  constructor(engine: Engine, name: string | undefined) {
    this.#engine = engine;
    this.#name = name;
  }

  /** Throws ENGINE_NOT_READY before the engine's first `ready`. */
  get info(): ModelInfo {
    return this.#engine.model;
  }

  /** The name in answers; empty while neither the options nor the engine have one. */
  get name(): string {
    return this.#name ?? readyModel(this.#engine)?.name ?? "";
  }

  /** OpenAI's `system_fingerprint`: changes whenever formats or backend, and so possibly tokens, change. */
  get fingerprint(): string {
    const { name, weights, activations, kvFormat, device, backend, tier } = this.info;
    const identity = JSON.stringify([name, weights, activations, kvFormat, device, backend, tier]);
    return `fp_${createHash("sha256").update(identity).digest("hex").slice(0, 12)}`;
  }

  /** Throws MODEL_NOT_FOUND when a request names another model. A request without a name takes the one there is. */
  check(requested: string | null | undefined): void {
    if (requested === undefined || requested === null || requested === "") return;
    const { name } = this;
    if (requested !== name) {
      throw new KvantError(
        "MODEL_NOT_FOUND",
        `model is ${shorten(requested)}; this server has ${JSON.stringify(name)}`,
        {
          field: "model",
        },
      );
    }
  }
}
