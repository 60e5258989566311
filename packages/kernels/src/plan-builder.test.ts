import { parseWeightFormat } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import type { BufferId, Op, WeightId } from "./plan.ts";
import { PlanBuilder } from "./plan-builder.ts";
import { validatePlan } from "./validate-plan.ts";

const fp32 = parseWeightFormat("fp32");

function builder(): PlanBuilder {
  return new PlanBuilder({ name: "test", vocabSize: 10, contextLength: 32 });
}

function matrix(plan: PlanBuilder, rows: number, cols: number): WeightId {
  return plan.weight({ name: "w", class: "linear", rows, cols, format: fp32, activation: { format: "fp32" } });
}

test("a plan lists its ops in order, each with a buffer of its own", () => {
  const plan = builder();
  const x = plan.input("x", 4);
  const y = plan.linear("y", x, matrix(plan, 6, 4));
  plan.output(plan.siluMul("z", y, y));
  const built = plan.build();
  expect(built.ops.map(({ op }) => op)).toEqual(["linear", "siluMul"]);
  expect(built.buffers.map(({ name, width, rows }) => [name, width, rows])).toEqual([
    ["x", 4, "tokens"],
    ["y", 6, "tokens"],
    ["z", 6, "tokens"],
  ]);
  expect(built.inputs).toEqual([x]);
});

test("a linear op takes an input as wide as its weight", () => {
  const plan = builder();
  const x = plan.input("x", 5);
  expect(() => plan.linear("y", x, matrix(plan, 6, 4))).toThrow('buffer "x" is 5 wide where 4 is needed');
});

test("operands of an elementwise op have one width and one kind of rows", () => {
  const plan = builder();
  const [x, y] = [plan.input("x", 4), plan.input("y", 6)];
  expect(() => plan.add("z", x, y)).toThrow("6 wide where 4");
  expect(() => plan.add("z", x, plan.gatherRows("g", x))).toThrow("one per tokens is needed");
});

test("a norm runs over whole rows or over runs that divide them", () => {
  const plan = builder();
  const x = plan.input("x", 12);
  const norm = (cols: number) =>
    plan.weight({ name: "n", class: "norm", rows: 1, cols, format: fp32, activation: undefined });
  expect(plan.rmsNorm("heads", x, norm(4), 1e-5)).toBe(1);
  expect(() => plan.rmsNorm("ragged", x, norm(5), 1e-5)).toThrow("12 is not a multiple of the 5");
});

describe("KV groups", () => {
  const group = {
    layerCount: 2,
    kvHeads: 2,
    headDim: 4,
    window: undefined,
    format: "fp32",
    scales: { kind: "none" },
  } as const;

  test("attention reads a layer only after it is written", () => {
    const plan = builder();
    const index = plan.kvGroup(group);
    const q = plan.input("q", 16);
    const k = plan.input("k", 8);
    const attributes = { group: index, layer: 1, heads: 4, scale: 0.5 };
    expect(() => plan.attention("a", q, attributes)).toThrow("before kvWrite has written it");
    plan.kvWrite(k, k, index, 1);
    plan.attention("a", q, attributes);
    expect(() => plan.kvWrite(k, k, index, 1)).toThrow("written twice");
    expect(() => plan.kvWrite(k, k, index, 2)).toThrow("layers 0 to 1, not 2");
  });

  test("heads are a multiple of the KV heads", () => {
    const plan = builder();
    const index = plan.kvGroup(group);
    plan.kvWrite(plan.input("k", 8), plan.input("v", 8), index, 0);
    const q = plan.input("q", 12);
    expect(() => plan.attention("a", q, { group: index, layer: 0, heads: 3, scale: 1 })).toThrow(
      "3 heads are no multiple of 2",
    );
  });

  test("static scales are positive and one per layer or head", () => {
    const plan = builder();
    const scales = (k: number[]) =>
      ({ kind: "head", k: Float32Array.from(k), v: Float32Array.of(1, 1, 1, 1) }) as const;
    expect(() => plan.kvGroup({ ...group, format: "int8", scales: scales([1, 1]) })).toThrow(
      "4 static K scales are needed, 2 given",
    );
    expect(() => plan.kvGroup({ ...group, format: "int8", scales: scales([1, 1, 0, 1]) })).toThrow("static K scale 0");
    expect(() => plan.kvGroup({ ...group, format: "int8" })).toThrow("int8 needs scales");
  });
});

describe("weights", () => {
  test("what is multiplied names its activations, and nothing else does", () => {
    const plan = builder();
    const weight = { name: "w", rows: 1, cols: 4, format: fp32 };
    expect(() => plan.weight({ ...weight, class: "linear", activation: undefined })).toThrow("needs activation format");
    expect(() => plan.weight({ ...weight, class: "norm", activation: { format: "fp32" } })).toThrow(
      "has no activation",
    );
  });

  test("norms stay in fp32 and embeddings in a float format of the vocabulary's size", () => {
    const plan = builder();
    const weight = { name: "w", rows: 1, cols: 4, activation: undefined };
    expect(() => plan.weight({ ...weight, class: "norm", format: parseWeightFormat("bf16") })).toThrow("held in fp32");
    expect(() => plan.weight({ ...weight, class: "embedding", rows: 10, format: parseWeightFormat("int8") })).toThrow(
      "not int8",
    );
    expect(() => plan.weight({ ...weight, class: "embedding", rows: 11, format: fp32 })).toThrow(
      "11 rows for a vocabulary of 10",
    );
  });
});

describe("validatePlan", () => {
  const good = () => {
    const plan = builder();
    const x = plan.input("x", 10);
    plan.logits(plan.gatherRows("logits", x));
    return plan.build();
  };

  test("refuses a buffer that is written twice", () => {
    const plan = good();
    const again: Op = { op: "gatherRows", x: 0 as BufferId, out: 1 as BufferId };
    expect(() => validatePlan({ ...plan, ops: [...plan.ops, again] })).toThrow(
      'writes buffer "logits", which is already written',
    );
  });

  test("refuses a buffer that is read before it is written", () => {
    expect(() => validatePlan({ ...good(), inputs: [] })).toThrow('reads buffer "x" before any op has written it');
  });

  test("refuses logits of another width than the vocabulary", () => {
    expect(() => validatePlan({ ...good(), vocabSize: 11 })).toThrow("not [logits, 11]");
  });

  test("refuses operands that are not there", () => {
    const stray: Op = { op: "add", x: 0 as BufferId, y: 7 as BufferId, out: 1 as BufferId };
    expect(() => validatePlan({ ...good(), ops: [stray] })).toThrow("names buffer 7, which the plan lacks");
  });
});
