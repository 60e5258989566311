import { planModel } from "@kvant/engine";
import { expect, test } from "vitest";
import { decodeStepBytes } from "./live-bytes.ts";

test("a decode step reads every weight once, one embedding row per sequence and the live K and V", () => {
  const { plan } = planModel({ model: "tinyllama-1.1b", load: "dummy", weights: "int8-channel", kvFormat: "int8" });
  const [hidden, inner, layers, vocabulary, kvWidth] = [2048, 5632, 22, 32_000, 4 * 64];
  const rows = 2 * hidden + 2 * kvWidth + 2 * inner + hidden;
  const linearCodes = hidden * (2 * hidden + 2 * kvWidth) + 3 * hidden * inner;
  const head = vocabulary * hidden + 4 * vocabulary;
  const norms = 4 * hidden * (2 * layers + 1);
  const weights = layers * (linearCodes + 4 * rows) + head + norms;
  // Per token, layer and KV head: 64 codes and one scale, of K and of V.
  const kv = (batch: number, context: number) => batch * context * layers * 2 * 4 * (64 + 4);
  const embedding = (batch: number) => batch * 2 * hidden;
  expect(decodeStepBytes(plan, 1, 0, 16)).toBe(weights + embedding(1));
  expect(decodeStepBytes(plan, 3, 100, 16)).toBe(weights + embedding(3) + kv(3, 100));
});

test("a window bounds the live tokens", () => {
  const { plan } = planModel({ model: "tinyllama-1.1b", load: "dummy", kvFormat: "bf16" });
  const windowed = { ...plan, kvGroups: plan.kvGroups.map((group) => ({ ...group, window: 32 })) };
  expect(decodeStepBytes(windowed, 2, 500, 16)).toBe(decodeStepBytes(plan, 2, 32, 16));
});
