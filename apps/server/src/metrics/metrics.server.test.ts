import { describe, expect, test } from "vitest";
import { FakeEngine } from "../testing/fake-engine.ts";
import { type Served, serve } from "../testing/serving.ts";

/** Prometheus text as a map from `name{labels}` to value; throws for a line that is not of the format. */
async function scrape({ get }: Served): Promise<Map<string, number>> {
  const answer = await get("/metrics");
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const samples = new Map<string, number>();
  for (const line of (await answer.text()).split("\n")) {
    if (line === "" || /^# (HELP|TYPE) [a-zA-Z_:]\w*/.test(line)) continue;
    const [, name, value] = /^([a-zA-Z_:][\w:]*(?:\{[^}]*\})?) (\S+)$/.exec(line) ?? [];
    if (name === undefined || samples.has(name)) throw new Error(`not a sample, or a second one of its name: ${line}`);
    samples.set(name, value === "+Inf" ? Number.POSITIVE_INFINITY : Number(value));
  }
  return samples;
}

const names = [
  "kvant_requests_total",
  "kvant_requests_running",
  "kvant_requests_waiting",
  "kvant_queue_seconds_bucket",
  "kvant_prefill_seconds_bucket",
  "kvant_decode_seconds_bucket",
  "kvant_time_to_first_token_seconds_bucket",
  "kvant_inter_token_seconds_bucket",
  "kvant_request_seconds_bucket",
  "kvant_prompt_tokens_total",
  "kvant_generation_tokens_total",
  "kvant_step_seconds_bucket",
  "kvant_step_tokens_bucket",
  "kvant_kv_pages",
  "kvant_kv_host_pages",
  "kvant_kv_usage_ratio",
  "kvant_kv_bytes",
  "kvant_kv_saturations_total",
  "kvant_prefix_query_tokens_total",
  "kvant_prefix_hit_tokens_total",
  "kvant_preemptions_total",
  "kvant_weight_bytes",
  "kvant_device_memory_bytes",
  "kvant_device_memory_capacity_bytes",
  "kvant_process_resident_bytes",
  "kvant_engine_restarts_total",
  "kvant_build_info",
];

describe("/metrics", () => {
  test("has every name that dashboards are promised", async () => {
    await using served = await serve(new FakeEngine());
    await served.post("/v1/completions", { prompt: "x", max_tokens: 4 });
    const present = new Set([...(await scrape(served)).keys()].map((sample) => sample.replace(/\{.*/, "")));
    expect(names.filter((name) => !present.has(name))).toEqual([]);
  });

  test("counts requests by outcome and times their phases", async () => {
    const engine = new FakeEngine({ queueLimit: 1 });
    await using served = await serve(engine);
    await served.post("/v1/completions", { prompt: "x", max_tokens: 4 });
    await served.post("/v1/completions", { prompt: ["x", "y"], max_tokens: 4 });
    const samples = await scrape(served);
    expect(samples.get('kvant_requests_total{outcome="completed"}')).toBe(1);
    expect(samples.get('kvant_requests_total{outcome="refused"}')).toBe(1);
    expect(samples.get('kvant_requests_total{outcome="cancelled"}')).toBe(1);
    expect(samples.get("kvant_time_to_first_token_seconds_count")).toBe(1);
    expect(samples.get("kvant_inter_token_seconds_count")).toBe(3);
    expect(samples.get("kvant_queue_seconds_count")).toBe(1);
    expect(samples.get('kvant_completions_total{finish_reason="length"}')).toBe(1);
    expect(samples.get('kvant_responses_total{transport="http",route="/v1/completions",status="429"}')).toBe(1);
  });

  test("resolves half a millisecond and reaches a minute", async () => {
    await using served = await serve(new FakeEngine());
    await served.post("/v1/completions", { prompt: "x", max_tokens: 4 });
    const samples = await scrape(served);
    for (const name of ["time_to_first_token", "inter_token", "queue", "prefill", "decode", "request"]) {
      for (const bound of ["0.0005", "60", "+Inf"]) {
        expect(samples.has(`kvant_${name}_seconds_bucket{le="${bound}"}`)).toBe(true);
      }
    }
  });

  test("reports the engine's gauges at the time of the scrape", async () => {
    const engine = new FakeEngine();
    await using served = await serve(engine);
    const hostPages = { free: 5, used: 3 };
    engine.count({ waiting: 3, saturations: 5, preemptions: { recompute: 2, swap: 1 }, hostPages });
    const samples = await scrape(served);
    expect(samples.get("kvant_requests_waiting")).toBe(3);
    expect(samples.get("kvant_kv_saturations_total")).toBe(5);
    expect(samples.get('kvant_preemptions_total{kind="recompute"}')).toBe(2);
    expect(samples.get('kvant_preemptions_total{kind="swap"}')).toBe(1);
    expect(samples.get('kvant_kv_pages{state="free"}')).toBe(64);
    expect(samples.get('kvant_kv_host_pages{state="used"}')).toBe(3);
    expect(samples.get('kvant_weight_bytes{format="int8-channel"}')).toBe(4352);
    expect(samples.get('kvant_device_memory_bytes{device="cpu",kind="kv"}')).toBe(69632);
    expect(samples.get('kvant_device_memory_capacity_bytes{device="cpu"}')).toBe(8e9);
    expect(samples.get('kvant_process_resident_bytes{process="engine"}')).toBe(67108864);
  });

  test("keeps counters monotonic when the engine process is restarted", async () => {
    const engine = new FakeEngine();
    await using served = await serve(engine);
    engine.count({ generationTokens: 100, promptTokens: 40 });
    expect((await scrape(served)).get("kvant_generation_tokens_total")).toBe(100);
    engine.restart();
    engine.count({ generationTokens: 7 });
    const samples = await scrape(served);
    expect(samples.get("kvant_generation_tokens_total")).toBe(107);
    expect(samples.get("kvant_prompt_tokens_total")).toBe(40);
    expect(samples.get("kvant_engine_restarts_total")).toBe(1);
  });

  test("answers while the engine is starting, without a model's figures", async () => {
    await using served = await serve(new FakeEngine({ state: "starting" }));
    const samples = await scrape(served);
    expect(samples.get("kvant_requests_running")).toBe(0);
    expect([...samples.keys()].some((sample) => sample.startsWith("kvant_weight_bytes"))).toBe(false);
  });

  test("has vLLM's names beside its own where they are asked for", async () => {
    await using served = await serve(new FakeEngine(), { metricsAlias: "vllm", servedModelName: 'a "b"' });
    await served.post("/v1/completions", { prompt: "x", max_tokens: 4 });
    const samples = await scrape(served);
    const label = String.raw`model_name="a \"b\""`;
    expect(samples.get(`vllm:num_requests_running{${label}}`)).toBe(0);
    expect(samples.get(`vllm:generation_tokens_total{${label}}`)).toBe(4);
    expect(samples.get(`vllm:kv_cache_usage_perc{${label}}`)).toBe(0);
    expect(samples.get(`vllm:gpu_cache_usage_perc{${label}}`)).toBe(0);
    expect(samples.get(`vllm:time_to_first_token_seconds_count{${label}}`)).toBe(1);
    expect(samples.get(`vllm:time_to_first_token_seconds_bucket{${label},le="+Inf"}`)).toBe(1);
    expect(samples.get(`vllm:request_success_total{${label},finish_reason="length"}`)).toBe(1);
  });

  test("tells how late the server's event loop is", async () => {
    await using served = await serve(new FakeEngine({ stepMilliseconds: 10 }));
    await served.post("/v1/completions", { prompt: "x", max_tokens: 10 });
    const p99 = (await scrape(served)).get('kvant_event_loop_delay_seconds{quantile="0.99"}');
    expect(p99).toBeGreaterThanOrEqual(0);
    expect(p99).toBeLessThan(60);
  });
});
