import { availableBackends } from "@kvant/kernels";
import { describe, expect, test } from "vitest";
import type { EngineOptions } from "./engine-options.ts";
import { batchFailures } from "./testing/batch-check.ts";
import { crowdDistance } from "./testing/crowd-check.ts";
import { goldenModel } from "./testing/golden.ts";

// The best CPU tier and the GPU; the other tiers are held to it step by step in @kvant/kernels.
const devices = ["cpu", "cuda"].map((device) => {
  const present = availableBackends().filter(({ name }) => name.startsWith(device));
  const reason = present.some(({ create }) => create !== undefined) ? undefined : present[0]?.reason;
  return { device, reason };
});
const schemes: readonly Pick<EngineOptions, "weights" | "kvFormat">[] = [
  { weights: "fp32", kvFormat: "fp32" },
  { weights: "bf16", kvFormat: "bf16" },
  { weights: "int8-channel", kvFormat: "int8" },
  { weights: "e4m3-channel", kvFormat: "e4m3" },
  { weights: "int4-g32", kvFormat: "int8" },
];

describe.each(devices)("64 requests together on $device", ({ device, reason }) => {
  if (reason !== undefined) {
    console.info(`SKIPPED: ${reason}`);
    test.skip(reason, () => undefined);
    return;
  }
  test.each(schemes)("get the tokens that each gets alone, $weights weights and $kvFormat KV", async (scheme) => {
    const options = { model: goldenModel("llama"), device, deterministic: true, ...scheme };
    expect(await batchFailures(options)).toEqual([]);
  });
});

test("96 sequences of a shape with heads of 64 get what each gets alone", async () => {
  const distance = await crowdDistance({ device: "cpu", weights: "int8", kvFormat: "int8", kvPages: 2048 });
  expect(distance).toEqual({ fullest: 96, compared: 32 * 24, worst: 0, sequence: 0 });
});
