import { describe, expect, test } from "vitest";
import { parsePrometheusText } from "./prometheus-text.ts";
import { serverFigures } from "./server-figures.ts";

describe("Prometheus' text", () => {
  test("gives names, labels and values, and skips what is no sample", () => {
    const text = [
      "# HELP a What it is.",
      "# TYPE a counter",
      "a 1",
      'a{x="1",y="two"} 2.5 1395066363000',
      'a_bucket{le="+Inf",path="C:\\\\d\\"q\\"\\n",} 3 # {trace="x"} 0.5',
      'spaced { x = "1" , y="2" }   4e3',
      "inf +Inf",
      "none NaN",
      'broken{x="1" 3',
      "novalue",
      "wrong abc",
      "",
      "# EOF",
    ].join("\n");
    expect(parsePrometheusText(text)).toEqual([
      { name: "a", labels: {}, value: 1 },
      { name: "a", labels: { x: "1", y: "two" }, value: 2.5 },
      { name: "a_bucket", labels: { le: "+Inf", path: 'C:\\d"q"\n' }, value: 3 },
      { name: "spaced", labels: { x: "1", y: "2" }, value: 4000 },
      { name: "inf", labels: {}, value: Number.POSITIVE_INFINITY },
      { name: "none", labels: {}, value: Number.NaN },
    ]);
  });

  test("with CR LF is the same", () => {
    expect(parsePrometheusText("a 1\r\nb 2\r\n").map(({ value }) => value)).toEqual([1, 2]);
  });
});

describe("a server's figures", () => {
  test("are those of Kvant, kinds and processes added up", () => {
    const text = `
kvant_requests_running 12
kvant_requests_waiting 3
kvant_kv_usage_ratio 0.25
kvant_preemptions_total{kind="recompute"} 4
kvant_preemptions_total{kind="swap"} 1
kvant_process_resident_bytes{process="server"} 100
kvant_process_resident_bytes{process="engine"} 900
kvant_device_memory_bytes{device="cuda:0",kind="weights"} 5000
kvant_device_memory_bytes{device="cuda:0",kind="kv"} 2000
process_resident_memory_bytes 77
`;
    expect(serverFigures(text)).toEqual({
      running: 12,
      waiting: 3,
      kvUsage: 0.25,
      preemptions: 5,
      residentBytes: 1000,
      deviceBytes: 7000,
    });
  });

  test("are those of vLLM, under its newer name and its older one; a share of two engines is their mean", () => {
    const text = `
vllm:num_requests_running{engine="0",model_name="m"} 7.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.9
vllm:num_preemptions_total{engine="0",model_name="m"} 2.0
process_resident_memory_bytes 1.5e9
`;
    expect(serverFigures(text)).toEqual({
      running: 8,
      waiting: 0,
      kvUsage: 0.375,
      preemptions: 2,
      residentBytes: 1.5e9,
    });
    expect(serverFigures('vllm:gpu_cache_usage_perc{model_name="m"} 0.9')).toEqual({ kvUsage: 0.9 });
  });

  test("are those of llama.cpp, as far as it tells", () => {
    const text = "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\nllamacpp:n_tokens_max 10\n";
    expect(serverFigures(text)).toEqual({ running: 2, waiting: 1 });
  });

  test("are none where there are none, or no numbers", () => {
    expect(serverFigures("<html>not found</html>")).toEqual({});
    expect(serverFigures("kvant_requests_running NaN")).toEqual({});
  });
});
