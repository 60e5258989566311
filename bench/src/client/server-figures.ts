import type { ServerSample } from "./load-run.ts";
import { type MetricSample, parsePrometheusText } from "./prometheus-text.ts";

type Figures = Omit<ServerSample, "at">;

/**
 * The names under which servers export each figure; the first that is there counts, as older names stay beside newer ones.
 * Kvant: `apps/server/src/metrics`. vLLM: docs.vllm.ai, "Production Metrics" (`gpu_cache_usage_perc` until vllm#29330).
 * llama.cpp: `tools/server/README.md`, "GET /metrics" (`kv_cache_usage_ratio` until llama.cpp#13660). SGLang: docs.sglang.io,
 * "Production Metrics". Samples of one name that differ in labels are added up: processes, kinds of preemption, kinds of memory. A share of
 * several engines is their mean.
 */
const names: { readonly [figure in keyof Figures]-?: readonly string[] } = {
  running: [
    "kvant_requests_running",
    "vllm:num_requests_running",
    "llamacpp:requests_processing",
    "sglang:num_running_reqs",
  ],
  waiting: [
    "kvant_requests_waiting",
    "vllm:num_requests_waiting",
    "llamacpp:requests_deferred",
    "sglang:num_queue_reqs",
  ],
  kvUsage: [
    "kvant_kv_usage_ratio",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "llamacpp:kv_cache_usage_ratio",
    "sglang:token_usage",
  ],
  preemptions: ["kvant_preemptions_total", "vllm:num_preemptions_total"],
  residentBytes: ["kvant_process_resident_bytes", "process_resident_memory_bytes"],
  deviceBytes: ["kvant_device_memory_bytes"],
};

/** What an exposition tells of a server; a figure that it lacks is absent. */
export function serverFigures(exposition: string): Figures {
  const samples = parsePrometheusText(exposition);
  const read = (figure: keyof Figures): number | undefined => {
    const found = names[figure].map((name) => samples.filter((sample) => sample.name === name));
    const first = found.find(({ length }) => length > 0);
    return first === undefined ? undefined : joined(first, figure === "kvUsage");
  };
  const figures: { -readonly [figure in keyof Figures]: Figures[figure] } = {};
  for (const figure of Object.keys(names) as (keyof Figures)[]) {
    const value = read(figure);
    if (value !== undefined && Number.isFinite(value)) figures[figure] = value;
  }
  return figures;
}

function joined(samples: readonly MetricSample[], isShare: boolean): number {
  const sum = samples.reduce((total, { value }) => total + value, 0);
  return isShare ? sum / samples.length : sum;
}
