import { parseWeightFormat } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import { floatSource, prepare } from "../conformance/conformance-case.ts";
import { StepDriver } from "../conformance/step-driver.ts";
import { tinyDecoder, tinyDecoders } from "../conformance/tiny-decoder.ts";
import { PlanBuilder } from "../plan-builder.ts";
import { createReferenceBackend } from "./reference-backend.ts";

function compiled() {
  const setup = tinyDecoder(tinyDecoders[0]!, 2);
  return { ...setup, executable: prepare(setup, createReferenceBackend()) };
}

test("a linear layer of known numbers gives the known result", async () => {
  const builder = new PlanBuilder({ name: "test", vocabSize: 2, contextLength: 8 });
  const x = builder.input("x", 2);
  const weight = builder.weight({
    name: "w",
    class: "linear",
    rows: 2,
    cols: 2,
    format: parseWeightFormat("fp32"),
    activation: { format: "fp32" },
  });
  const out = builder.linear("out", x, weight);
  builder.output(out);
  const options = { pageTokens: 16, pageCounts: [], maxRows: 1, maxTokens: 4, maxLogitRows: 1 };
  const executable = createReferenceBackend().compile(builder.build(), options);
  executable.loadWeight(weight, floatSource(Float32Array.of(1, 2, 3, 4)));
  executable.writeBuffer(x, Float32Array.of(1, 0, 10, 100));
  await new StepDriver(executable, options).step([{ slot: 0, tokenIds: [0, 1], wants: "nothing" }]);
  expect([...executable.readBuffer(out, 2)]).toEqual([1, 3, 210, 430]);
});

describe("a step", () => {
  test("copies a page before it is written", async () => {
    const { executable, options } = compiled();
    const driver = new StepDriver(executable, options);
    await driver.step([{ slot: 0, tokenIds: [1, 2, 3], wants: "nothing" }]);
    const original = executable.readPage(0, 1);
    const next = driver.pack([{ slot: 0, tokenIds: [4], wants: "nothing" }]);
    // Copy on write: the slot's table now names page 9, a copy of page 1.
    await executable.submit({ ...next, pageAppends: Int32Array.of(0, 0, 0, 9), pageCopies: Int32Array.of(0, 1, 9) });
    expect(executable.readPage(0, 1)).toEqual(original);
    const copy = executable.readPage(0, 9);
    const tokenBytes = 16 * 4; // the first head's K of one fp32 token
    expect(copy.subarray(0, 3 * tokenBytes)).toEqual(original.subarray(0, 3 * tokenBytes));
    expect(copy).not.toEqual(original);
  });

  test("may reuse its input arrays as soon as submit returns", async () => {
    const { executable, options } = compiled();
    const inputs = new StepDriver(executable, options).pack([{ slot: 0, tokenIds: [1, 2, 3], wants: "logits" }]);
    const running = executable.submit(inputs);
    inputs.tokenIds.fill(50);
    const { logits } = await running;
    const again = compiled();
    const expected = await new StepDriver(again.executable, options).step([
      { slot: 0, tokenIds: [1, 2, 3], wants: "logits" },
    ]);
    expect(logits).toEqual(expected.logits);
  });

  test("needs every weight", () => {
    const { plan, options } = tinyDecoder(tinyDecoders[0]!, 2);
    const executable = createReferenceBackend().compile(plan, options);
    const driver = new StepDriver(executable, options);
    expect(() => driver.step([{ slot: 0, tokenIds: [1], wants: "nothing" }])).toThrow('"table" was never loaded');
  });
});

describe("between steps", () => {
  test("taps and logits are readable, other buffers are not", async () => {
    const { executable, options, taps, plan } = compiled();
    await new StepDriver(executable, options).step([{ slot: 0, tokenIds: [1, 2], wants: "sample" }]);
    expect(executable.readBuffer(taps[0]!, 2)).toHaveLength(2 * plan.buffers[taps[0]!]!.width);
    expect(executable.readBuffer(plan.logits!, 1)).toHaveLength(plan.vocabSize);
    const hidden = plan.buffers.find(({ name }) => name === "norm0")!;
    expect(() => executable.readBuffer(hidden.id, 1)).toThrow("is no output, tap or logits buffer");
  });

  test("buffers and pages cannot be read while a step runs", async () => {
    const { executable, options } = compiled();
    const running = new StepDriver(executable, options).step([{ slot: 0, tokenIds: [1], wants: "nothing" }]);
    expect(() => executable.readPage(0, 1)).toThrow("only possible between steps");
    await running;
    expect(executable.readPage(0, 1).length).toBeGreaterThan(0);
  });
});

test("memory is reported by weight format, and codes of the cache apart from scales", () => {
  const { plan, options } = tinyDecoder(tinyDecoders[3]!, 2);
  const report = createReferenceBackend().compile(plan, options).memory();
  expect(Object.keys(report.weightBytes).sort()).toEqual(["bf16", "fp32", "int8-channel"]);
  expect(report.weightBytes.bf16).toBe(105 * 48 * 2);
  expect(report.kvScaleBytes).toBe(64 * 2 * 2 * 2 * 16 * 4);
  expect(report.kvCodeBytes).toBe(64 * 2 * 2 * 2 * 16 * 16);
});

test("a weight of the wrong size is refused by name, and so is one that is already loaded", () => {
  const { plan, options, weights } = tinyDecoder(tinyDecoders[0]!, 2);
  const executable = createReferenceBackend().compile(plan, options);
  const { id } = plan.weights[0]!;
  expect(() => executable.loadWeight(id, floatSource(new Float32Array(3)))).toThrow(
    expect.objectContaining({ code: "TENSOR_SHAPE", field: "table" }),
  );
  executable.loadWeight(id, floatSource(weights.get(id)!));
  expect(() => executable.loadWeight(id, floatSource(weights.get(id)!))).toThrow('"table" is already loaded');
});

test("a closed executable takes no steps", async () => {
  const { executable, options } = compiled();
  await executable.close();
  const driver = new StepDriver(executable, options);
  expect(() => driver.step([{ slot: 0, tokenIds: [1], wants: "nothing" }])).toThrow("is closed");
});
