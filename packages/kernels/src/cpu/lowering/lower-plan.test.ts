import { parseWeightFormat } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { tinyDecoder, tinyDecoders } from "../../conformance/tiny-decoder.ts";
import type { ActivationScheme, BufferId } from "../../plan.ts";
import { PlanBuilder } from "../../plan-builder.ts";
import { describeLowered } from "./describe-lowered.ts";
import { lowerPlan } from "./lower-plan.ts";
import { requireQuantizing } from "./native-weight.ts";

const options = { pageTokens: 16, pageCounts: [4], backend: "cpu" } as const;

function decoder(name: string) {
  return tinyDecoder(tinyDecoders.find((each) => each.name.startsWith(name))!, 1).plan;
}

describe("a decoder", () => {
  test("becomes seven ops per layer, of which three are fused", () => {
    const lowered = lowerPlan(decoder("int8-channel"), options);
    expect(lowered.native.ops.map(({ op }) => op)).toEqual([
      "embed",
      ...["rmsNorm", "linear", "qkvStore", "attention", "linear"],
      ...["rmsNorm", "linear", "siluMul", "linear"],
      ...["rmsNorm", "linear", "qkvStore", "attention", "linear"],
      ...["rmsNorm", "linear", "siluMul", "linear"],
      ...["add", "gatherRows", "rmsNorm", "linear"],
    ]);
    const residuals = lowered.native.ops.flatMap((op) => (op.op === "rmsNorm" ? [op.residual >= 0] : []));
    expect(residuals).toEqual([false, true, true, true, false]);
  });

  test("has q, k and v below each other in one matrix, and their biases in one vector", () => {
    const plan = decoder("int8-channel");
    const { native, weightOf } = lowerPlan(plan, options);
    const place = (name: string) => weightOf.get(plan.weights.find((weight) => weight.name === name)!.id)!;
    expect([place("q0"), place("k0"), place("v0")].map(({ rowOffset }) => rowOffset)).toEqual([0, 96, 128]);
    expect(new Set(["q0", "k0", "v0"].map((name) => place(name).index)).size).toBe(1);
    expect(native.weights[place("q0").index]).toMatchObject({ kind: "matrix", rows: 160, cols: 48, groupSize: -1 });
    expect(["q0.bias", "k0.bias", "v0.bias"].map((name) => place(name).valueOffset)).toEqual([0, 96, 128]);
    expect(native.weights[place("v0.bias").index]).toMatchObject({ kind: "vector", rows: 1, cols: 160 });
  });

  test("hands head norms to the fused store", () => {
    const { native } = lowerPlan(decoder("bf16"), options);
    const store = native.ops.find(({ op }) => op === "qkvStore");
    expect(store).toMatchObject({ heads: 6, rope: 0, group: 0, layer: 0 });
    expect(store).toMatchObject({ qNorm: expect.any(Number), kNorm: expect.any(Number) });
  });

  test("reuses memory, but never of two buffers that live together", () => {
    const { native } = lowerPlan(decoder("fp32"), options);
    const slots = new Set(native.buffers.map(({ slot }) => slot));
    expect(slots.size).toBeLessThan(native.buffers.length / 2);
    for (const op of native.ops) {
      if (!("x" in op) || !("out" in op)) continue;
      expect(native.buffers[op.x]!.slot).not.toBe(native.buffers[op.out]!.slot);
    }
  });

  test.each(tinyDecoders.map(({ name }) => name))("%s: attention never writes over what its store reads", (name) => {
    const { native } = lowerPlan(decoder(name), { ...options, backend: "cuda" });
    const slotOf = (buffer: number) => native.buffers[buffer]!.slot;
    const stores = native.ops.flatMap((op) => (op.op === "qkvStore" ? [op] : []));
    expect(stores.length).toBeGreaterThan(0);
    for (const store of stores) {
      const attention = native.ops.find((op) => op.op === "attention" && op.q === store.out);
      if (attention?.op !== "attention") throw new Error("no attention reads the queries of a store");
      expect(new Set([store.qkv, store.out, attention.out].map(slotOf)).size).toBe(3);
    }
  });

  test("can be printed", () => {
    const lines = describeLowered(lowerPlan(decoder("int4-g32"), options));
    expect(lines[0]).toBe("embedding = embed(table [105, 48] bf16)");
    expect(lines[2]).toBe("qkv = linear(norm0, q0 + k0 + v0 [160, 48] int4-g32 x int8)");
    expect(lines.find((line) => line.includes("+="))).toMatch(
      /^second0 = rmsNorm\(embedding \+= o0, second0 \[1, 48\] fp32\)$/,
    );
  });
});

/** x -> gate and up -> siluMul, with a hook to spoil the pattern. */
function gateUp(
  spoil: (builder: PlanBuilder, gate: BufferId, x: BufferId) => void,
  up: Partial<{ format: string; activation: ActivationScheme }> = {},
) {
  const builder = new PlanBuilder({ name: "test", vocabSize: 4, contextLength: 16 });
  const x = builder.input("x", 8);
  const weight = (name: string, format: string, activation: ActivationScheme) =>
    builder.weight({ name, class: "linear", rows: 6, cols: 8, format: parseWeightFormat(format), activation });
  const gate = builder.linear("gate", x, weight("gate", "int8", { format: "int8", scale: "token" }));
  const upWeight = weight("up", up.format ?? "int8", up.activation ?? { format: "int8", scale: "token" });
  const out = builder.siluMul("out", gate, builder.linear("up", x, upWeight));
  builder.output(out);
  spoil(builder, gate, x);
  return lowerPlan(builder.build(), { ...options, pageCounts: [] }).native.ops.map(({ op }) => op);
}

describe("gate and up", () => {
  test("become one matrix", () => {
    expect(gateUp(() => undefined)).toEqual(["linear", "siluMul"]);
  });

  test("stay apart when a tap or an op wants one of them", () => {
    expect(gateUp((builder, gate) => builder.tap("gate", gate))).toEqual(["linear", "linear", "siluMul"]);
    expect(gateUp((builder, gate) => builder.output(builder.add("twice", gate, gate)))).toEqual([
      "linear",
      "linear",
      "siluMul",
      "add",
    ]);
  });

  test("stay apart when their formats or static scales differ", () => {
    expect(gateUp(() => undefined, { format: "int4-g32" })).toEqual(["linear", "linear", "siluMul"]);
    expect(gateUp(() => undefined, { activation: { format: "int8", scale: 0.1 } })).toHaveLength(3);
  });
});

test("a sum whose first operand is an input or an output stays an op of its own", () => {
  const builder = new PlanBuilder({ name: "test", vocabSize: 4, contextLength: 16 });
  const [x, y] = [builder.input("x", 8), builder.input("y", 8)];
  const norm = builder.weight({
    name: "n",
    class: "norm",
    rows: 1,
    cols: 8,
    format: parseWeightFormat("fp32"),
    activation: undefined,
  });
  builder.output(builder.rmsNorm("out", builder.add("sum", x, y), norm, 1e-5));
  const { native } = lowerPlan(builder.build(), { ...options, pageCounts: [] });
  expect(native.ops.map(({ op }) => op)).toEqual(["add", "rmsNorm"]);
});

describe("e4m3 activations", () => {
  function linear(activation: ActivationScheme) {
    const builder = new PlanBuilder({ name: "test", vocabSize: 4, contextLength: 16 });
    const format = parseWeightFormat("e4m3-channel");
    const weight = builder.weight({ name: "model.w", class: "linear", rows: 4, cols: 8, format, activation });
    builder.output(builder.linear("out", builder.input("x", 8), weight));
    return builder.build();
  }

  test("are refused on the cpu by the name of the weight", () => {
    const plan = linear({ format: "e4m3", scale: "token" });
    expect(() => lowerPlan(plan, { ...options, pageCounts: [] })).toThrow(
      expect.objectContaining({
        code: "OP_UNSUPPORTED",
        message: 'linear "model.w": the cpu backend has no kernel for e4m3-channel weights with e4m3 activations',
      }),
    );
  });

  test.each([
    ["token", 0],
    [0.25, 0.25],
  ] as const)("reach cuda with the scale %s as %d", (scale, activationScale) => {
    const plan = linear({ format: "e4m3", scale });
    const { native } = lowerPlan(plan, { ...options, pageCounts: [], backend: "cuda" });
    expect(native.weights[0]).toMatchObject({ format: "e4m3", groupSize: -1, activation: "e4m3", activationScale });
  });
});

describe("weights of few kernels", () => {
  function planOf(format: string) {
    const builder = new PlanBuilder({ name: "test", vocabSize: 4, contextLength: 16 });
    const weight = builder.weight({
      ...{ name: "model.w", class: "linear", rows: 4, cols: 8 },
      ...{ format: parseWeightFormat(format), activation: { format: "bf16" } },
    });
    builder.output(builder.linear("out", builder.input("x", 8), weight));
    const plan = builder.build();
    return { plan, lower: () => lowerPlan(plan, { ...options, pageCounts: [] }) };
  }

  test.each(["int3-g32", "int2-channel-affine"])("%s has those of int4, and its floats are refused", (format) => {
    const { plan, lower } = planOf(format);
    expect(lower().native.weights[0]).toMatchObject({ format: "int4" });
    const message = `linear "model.w": ${format} weights are loaded from their codes`;
    expect(() => requireQuantizing(plan.weights[0]!)).toThrow(
      expect.objectContaining({ code: "OP_UNSUPPORTED", message: expect.stringContaining(message) }),
    );
  });

  test.each(["mxfp8", "e4m3-t128x128", "int8-t128x128"])("%s has no kernel", (format) => {
    const message = `linear "model.w": the cpu backend has no kernel for ${format} weights with bf16 activations`;
    expect(planOf(format).lower).toThrow(expect.objectContaining({ code: "OP_UNSUPPORTED", message }));
  });
});
