/** Kvant's metric for each name of vLLM's that dashboards and the Kubernetes inference gateway read. */
export const vllmAliases: ReadonlyMap<string, string> = new Map([
  ["vllm:num_requests_running", "kvant_requests_running"],
  ["vllm:num_requests_waiting", "kvant_requests_waiting"],
  ["vllm:kv_cache_usage_perc", "kvant_kv_usage_ratio"],
  ["vllm:gpu_cache_usage_perc", "kvant_kv_usage_ratio"],
  ["vllm:prompt_tokens_total", "kvant_prompt_tokens_total"],
  ["vllm:generation_tokens_total", "kvant_generation_tokens_total"],
  ["vllm:prefix_cache_queries_total", "kvant_prefix_query_tokens_total"],
  ["vllm:prefix_cache_hits_total", "kvant_prefix_hit_tokens_total"],
  ["vllm:num_preemptions_total", "kvant_preemptions_total"],
  ["vllm:time_to_first_token_seconds", "kvant_time_to_first_token_seconds"],
  ["vllm:inter_token_latency_seconds", "kvant_inter_token_seconds"],
  ["vllm:time_per_output_token_seconds", "kvant_inter_token_seconds"],
  ["vllm:e2e_request_latency_seconds", "kvant_request_seconds"],
  ["vllm:request_queue_time_seconds", "kvant_queue_seconds"],
  ["vllm:request_prefill_time_seconds", "kvant_prefill_seconds"],
  ["vllm:request_decode_time_seconds", "kvant_decode_seconds"],
  ["vllm:request_success_total", "kvant_completions_total"],
]);

/**
 * The samples of `exposition` (Prometheus text) again under their aliases, with the `model_name` label that the readers of
 * those names select on. Working on the text keeps one set of numbers: nothing is observed twice.
 */
export function aliasExposition(exposition: string, aliases: ReadonlyMap<string, string>, modelName: string): string {
  const families = new Map(exposition.split("\n\n").map((family) => [familyName(family), family.trimEnd()]));
  const label = `model_name="${escapeLabel(modelName)}"`;
  const renamed: string[] = [];
  for (const [alias, name] of aliases) {
    const family = families.get(name);
    if (family !== undefined) renamed.push(renameFamily(family, name, alias, label));
  }
  return renamed.join("\n\n");
}

function familyName(family: string): string {
  return /^# HELP (\S+)/.exec(family)?.[1] ?? "";
}

function renameFamily(family: string, name: string, alias: string, label: string): string {
  return family
    .split("\n")
    .map((line) => {
      if (line.startsWith("# ")) return line.replace(name, alias);
      // NAME, or NAME_bucket, NAME_sum, NAME_count; then labels or the value.
      const suffix = /^[a-zA-Z_]*/.exec(line.slice(name.length))?.[0] ?? "";
      const rest = line.slice(name.length + suffix.length);
      return alias + suffix + (rest.startsWith("{") ? `{${label},${rest.slice(1)}` : `{${label}}${rest}`);
    })
    .join("\n");
}

// Prometheus text format: backslash, double quote and line feed are escaped inside label values.
function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
