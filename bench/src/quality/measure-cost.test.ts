import { tinyModelPath } from "@kvant/tiny-model";
import { expect, test, vi } from "vitest";
import { measureCost } from "./measure-cost.ts";

vi.setConfig({ testTimeout: 60_000 });

test("a scheme's cost has a cold start that includes the load, and prompts that fit a short context", async () => {
  const engine = { model: tinyModelPath, device: "reference", contextLength: 16 };
  const cost = await measureCost({ engine });
  expect(cost.promptTokens).toBe(8);
  expect(cost.coldFirstTokenSeconds).toBeGreaterThan(cost.loadSeconds);
  for (const value of Object.values(cost)) expect(value).toBeGreaterThan(0);
  expect(cost.peakResidentBytes).toBeGreaterThan(1e7);
});
