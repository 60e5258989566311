import { accelerateQuantizers } from "@kvant/engine";
import { tinyModelPath } from "@kvant/tiny-model";
import { beforeAll, expect, test } from "vitest";
import { measureQuantization } from "./measure-quantization.ts";

const tiny = { shape: tinyModelPath, device: "cpu", threads: 1, samples: 2, sampleTokens: 24, scheme: "int4" } as const;

beforeAll(() => {
  accelerateQuantizers(2);
});

test.each([
  ["gptq", ["statistics", "gptq", "output errors", "report", "forward again"]],
  ["awq", ["statistics", "awq scales", "awq clipping", "output errors", "report", "forward again"]],
])("%s of a layer is measured phase by phase, and they add up", async (method, phases) => {
  const measured = await measureQuantization({ ...tiny, granularity: "group:64", method, actOrder: false, rounds: 2 });
  expect(measured.phases.map(({ phase }) => phase)).toEqual(phases);
  const sum = measured.phases.reduce((seconds, phase) => seconds + phase.seconds, 0);
  expect(measured.seconds).toBeCloseTo(sum, 9);
  expect(measured.roundSeconds).toHaveLength(2);
  expect(measured.roundSeconds[1]).toBe(measured.seconds);
  for (const { phase, teraOperations } of measured.phases) expect(teraOperations > 0, phase).toBe(phase !== "report");
  // The calibration states say something of the layer: both methods beat round to nearest on them.
  expect(measured.outputErrorRatio).toBeGreaterThan(0);
  expect(measured.outputErrorRatio).toBeLessThan(1);
  expect(measured.peakDeviceBytes).toBeNull();
  expect(measured.layers).toMatch(/^float32 on the CPU/);
  expect(measured.methods).toBe("float64 on the CPU");
});

test("a shape that nobody knows and a recipe that is none are refused", async () => {
  const options = { ...tiny, granularity: "group:64", method: "gptq", actOrder: false, rounds: 1 };
  await expect(measureQuantization({ ...options, shape: "llama9" })).rejects.toThrow("llama9");
  await expect(measureQuantization({ ...options, method: "magic" })).rejects.toThrow('"magic"');
});
