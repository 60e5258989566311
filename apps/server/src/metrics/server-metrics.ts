import type { Engine } from "@kvant/engine";
import { Gauge, Registry } from "prom-client";
import { readyModel, registerEngineMetrics } from "./engine-metrics.ts";
import { registerEventLoopMetrics } from "./event-loop-metrics.ts";
import { aliasExposition, vllmAliases } from "./metric-aliases.ts";
import { RequestMetrics } from "./request-metrics.ts";

export interface ServerMetricsOptions {
  readonly version: string;
  readonly alias: "vllm" | undefined;
  /** The served model's name at the time of a scrape. */
  readonly modelName: () => string;
}

/** Every metric of one server, on a registry of its own, so that two servers in a process do not share counters. */
export class ServerMetrics {
  readonly requests: RequestMetrics;
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #registry = new Registry();
  readonly #options: ServerMetricsOptions;
  readonly #stops: readonly (() => void)[];

  constructor(engine: Engine, options: ServerMetricsOptions) {
    this.#options = options;
    this.requests = new RequestMetrics(this.#registry);
    this.#stops = [registerEngineMetrics(this.#registry, engine), registerEventLoopMetrics(this.#registry)];
    new Gauge({
      name: "kvant_build_info",
      help: "Always 1; the labels say what runs.",
      labelNames: ["version", "node", "model", "weights", "activations", "kv_format", "device", "backend", "tier"],
      registers: [this.#registry],
      collect() {
        const model = readyModel(engine);
        this.reset();
        this.set(
          {
            version: options.version,
            node: process.versions.node,
            ...(model === undefined
              ? {}
              : {
                  model: options.modelName(),
                  weights: model.weights,
                  activations: model.activations,
                  kv_format: model.kvFormat,
                  device: model.device,
                  backend: model.backend,
                  tier: model.tier,
                }),
          },
          1,
        );
      },
    });
  }

  /** All metrics in Prometheus text format 0.0.4. */
  async expose(): Promise<string> {
    const text = await this.#registry.metrics();
    if (this.#options.alias === undefined) return text;
    return `${text}\n${aliasExposition(text, vllmAliases, this.#options.modelName())}\n`;
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }
}
