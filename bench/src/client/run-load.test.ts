import { expect, test } from "vitest";
import { metricsKey } from "./run-load.ts";

const http = { url: "http://host:8000/base", dialect: "openai-chat", model: "m", apiKey: "sk-1" } as const;
const grpc = { ...http, url: "grpc://host:50051", dialect: "kvant-grpc" } as const;

test.each([
  [http, "http://host:8000/metrics", "sk-1"],
  [http, "http://host:9090/metrics", undefined],
  [http, "https://host:8000/metrics", undefined],
  [http, "http://monitoring:8000/metrics", undefined],
  [grpc, "http://host:8000/metrics", "sk-1"],
  [grpc, "http://other:8000/metrics", undefined],
  [http, "no address", undefined],
])("the key of %o goes with metrics of %s: %s", (target, metricsUrl, key) => {
  expect(metricsKey(target, metricsUrl)).toBe(key);
});
