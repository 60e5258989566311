import { parseWeightFormat } from "@kvant/formats";
import { expect, test } from "vitest";
import { PlanBuilder } from "./plan-builder.ts";
import { describePlan, planCost } from "./plan-cost.ts";

function plan(window: number | undefined) {
  const builder = new PlanBuilder({ name: "test", vocabSize: 10, contextLength: 512 });
  const x = builder.input("x", 32);
  const weight = builder.weight({
    name: "w",
    class: "linear",
    rows: 64,
    cols: 32,
    format: parseWeightFormat("int8-channel"),
    activation: { format: "int8", scale: "token" },
  });
  const q = builder.linear("q", x, weight);
  const group = builder.kvGroup({
    layerCount: 1,
    kvHeads: 2,
    headDim: 16,
    window,
    format: "int8",
    scales: { kind: "token-head" },
  });
  builder.kvWrite(x, x, group, 0);
  builder.output(builder.attention("a", q, { group, layer: 0, heads: 4, scale: 0.25 }));
  return builder.build();
}

test("a decode step reads each weight once and the live KV of every row", () => {
  const cost = planCost(plan(undefined), { tokens: 1, contexts: [100, 50] });
  expect(cost.weightBytes).toBe(64 * 32 + 64 * 4);
  const perToken = 2 * 2 * (16 + 4);
  expect(cost.kvBytes).toBe((100 + 50) * perToken + 2 * perToken);
  expect(cost.operations).toBe(2 * 2 * 64 * 32 + 4 * 4 * 16 * 150);
});

test("causal attention of a prefill counts the positions that each token sees", () => {
  const { ops } = planCost(plan(undefined), { tokens: 4, contexts: [4] });
  expect(ops.at(-1)!.operations).toBe(4 * 4 * 16 * (1 + 2 + 3 + 4));
});

test("a window bounds what is read and computed", () => {
  const { ops } = planCost(plan(8), { tokens: 1, contexts: [100] });
  expect(ops.at(-1)).toMatchObject({ kvBytes: 8 * 2 * 2 * 20, operations: 4 * 4 * 16 * 8 });
});

test("a plan prints one line per op", () => {
  const lines = describePlan(plan(undefined), { tokens: 1, contexts: [16] });
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatch(/^linear +q +2304 weight bytes/);
});
