import type { Engine, EngineStats, ModelInfo } from "@kvant/engine";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { secondsBuckets, stepTokenBuckets } from "./buckets.ts";
import { type EngineCounts, MonotonicCounters } from "./monotonic-counters.ts";

/**
 * The engine's gauges and counters, pulled when Prometheus scrapes, and its steps, observed as they happen. Returns the
 * function that ends the observation.
 */
export function registerEngineMetrics(registry: Registry, engine: Engine): () => void {
  registerStats(registry, engine);
  registerModel(registry, engine);
  const registers = [registry];
  const stepSeconds = new Histogram({
    name: "kvant_step_seconds",
    help: "Seconds of one step of the engine, by what its batch held.",
    labelNames: ["kind"],
    buckets: secondsBuckets,
    registers,
  });
  const stepTokens = new Histogram({
    name: "kvant_step_tokens",
    help: "Tokens that one step processed.",
    buckets: stepTokenBuckets,
    registers,
  });
  return engine.observe({
    step({ kind, seconds, tokens }) {
      stepSeconds.observe({ kind }, seconds);
      stepTokens.observe(tokens);
    },
  });
}

function registerStats(registry: Registry, engine: Engine): void {
  const registers = [registry];
  const gauge = (name: string, help: string, read: (stats: EngineStats) => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(engine.stats()));
      },
    });
  gauge("kvant_requests_running", "Requests with a row in the running batch.", ({ running }) => running);
  gauge("kvant_requests_waiting", "Requests in the waiting queue.", ({ waiting }) => waiting);
  gauge("kvant_kv_usage_ratio", "Used pages over all pages, 0 to 1.", ({ pages }) => {
    const total = pages.free + pages.cached + pages.used;
    return total === 0 ? 0 : pages.used / total;
  });
  new Gauge({
    name: "kvant_kv_pages",
    help: "Pages of the KV cache: free, cached (reusable by prefix, held by nobody), used.",
    labelNames: ["state"],
    registers,
    collect() {
      const { free, cached, used } = engine.stats().pages;
      this.set({ state: "free" }, free);
      this.set({ state: "cached" }, cached);
      this.set({ state: "used" }, used);
    },
  });
  new Gauge({
    name: "kvant_kv_host_pages",
    help: "Pages of host memory for preempted sequences: free, used.",
    labelNames: ["state"],
    registers,
    collect() {
      const { free, used } = engine.stats().hostPages;
      this.set({ state: "free" }, free);
      this.set({ state: "used" }, used);
    },
  });
  new Gauge({
    name: "kvant_process_resident_bytes",
    help: "Resident memory of the server process and of the process that runs the engine.",
    labelNames: ["process"],
    registers,
    collect() {
      this.set({ process: "server" }, process.memoryUsage.rss());
      this.set({ process: "engine" }, engine.stats().residentBytes);
    },
  });
  registerCounters(registry, engine);
}

function registerCounters(registry: Registry, engine: Engine): void {
  const registers = [registry];
  const totals = new MonotonicCounters();
  const counts = () => totals.update(engine.stats());
  const counter = (name: string, help: string, read: (counts: EngineCounts) => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read(counts()));
      },
    });
  counter("kvant_prompt_tokens_total", "Prompt tokens processed.", ({ promptTokens }) => promptTokens);
  counter("kvant_generation_tokens_total", "Tokens generated.", ({ generationTokens }) => generationTokens);
  counter(
    "kvant_prefix_query_tokens_total",
    "Prompt tokens looked up in the prefix cache.",
    ({ prefixQueryTokens }) => prefixQueryTokens,
  );
  counter(
    "kvant_prefix_hit_tokens_total",
    "Prompt tokens found in the prefix cache.",
    ({ prefixHitTokens }) => prefixHitTokens,
  );
  counter(
    "kvant_kv_saturations_total",
    "Values clamped to the largest code when KV was quantized with a static scale.",
    ({ saturations }) => saturations,
  );
  new Counter({
    name: "kvant_preemptions_total",
    help: "Sequences that gave up their pages, by how they come back.",
    labelNames: ["kind"],
    registers,
    collect() {
      const { recomputes, swaps } = counts();
      this.reset();
      this.inc({ kind: "recompute" }, recomputes);
      this.inc({ kind: "swap" }, swaps);
    },
  });
  new Counter({
    name: "kvant_engine_restarts_total",
    help: "Times the engine process died and was started again.",
    registers,
    collect() {
      this.reset();
      this.inc(engine.stats().restarts);
    },
  });
}

function registerModel(registry: Registry, engine: Engine): void {
  const registers = [registry];
  const gauge = (
    name: string,
    help: string,
    labelNames: string[],
    read: (model: ModelInfo) => readonly [labels: Record<string, string>, value: number][],
  ) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        // Before the first `ready` there is no model to report on.
        const model = readyModel(engine);
        if (model === undefined) return;
        this.reset();
        for (const [labels, value] of read(model)) this.set(labels, value);
      },
    });
  gauge("kvant_kv_bytes", "Bytes of the KV cache: codes and scales.", ["part"], ({ kvBytes }) => [
    [{ part: "codes" }, kvBytes.codes],
    [{ part: "scales" }, kvBytes.scales],
  ]);
  gauge("kvant_weight_bytes", "Bytes of weights by number format.", ["format"], ({ weightBytes }) =>
    Object.entries(weightBytes).map(([format, bytes]) => [{ format }, bytes]),
  );
  gauge(
    "kvant_device_memory_bytes",
    "Bytes that the engine holds on its device, by what they are for.",
    ["device", "kind"],
    ({ device, weightBytes, kvBytes, activationBytes }) => [
      [{ device, kind: "weights" }, Object.values(weightBytes).reduce((sum, bytes) => sum + bytes, 0)],
      [{ device, kind: "kv" }, kvBytes.codes + kvBytes.scales],
      [{ device, kind: "activations" }, activationBytes],
    ],
  );
  // A metric of its own: as one more kind it would double what sums over kinds give.
  gauge(
    "kvant_device_memory_capacity_bytes",
    "Bytes of memory that the device has in all; of device cpu the machine's, or its container's.",
    ["device"],
    ({ device, deviceMemoryBytes }) => [[{ device }, deviceMemoryBytes]],
  );
}

/** The model's report, or undefined while the engine has not been ready yet. */
export function readyModel(engine: Engine): ModelInfo | undefined {
  try {
    return engine.model;
  } catch {
    return undefined;
  }
}
