import { expect, test } from "vitest";
import { tinyDecoder, tinyDecoders } from "../conformance/tiny-decoder.ts";
import { planDeviceMemory } from "./device-memory.ts";

test("a plan takes its codes and scales, its shared activations, and a reserve that grows with rows and vocabulary", () => {
  const { plan, options } = tinyDecoder({ ...tinyDecoders[0]! }, 1);
  const memory = (change: Partial<typeof options>) =>
    planDeviceMemory(plan, { ...options, ...change }, { free: 1000, total: 2000 });
  const small = memory({ maxTokens: 16, maxLogitRows: 4, maxRows: 4 });
  expect(small).toMatchObject({ freeBytes: 1000, totalBytes: 2000 });
  const elements = plan.weights.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  expect(small.weightBytes).toBeGreaterThanOrEqual(elements / 2);
  expect(small.weightBytes).toBeLessThanOrEqual(elements * 4);
  expect(memory({ maxTokens: 32, maxLogitRows: 8 }).activationBytes).toBe(2 * small.activationBytes);
  expect(memory({ maxRows: 12 }).reserveBytes - memory({ maxRows: 4 }).reserveBytes).toBe(8 * plan.vocabSize * 5);
});
