import { type ModelConfig, namedShape } from "@kvant/checkpoint";
import { parseWeightFormat } from "@kvant/formats";
import { createReferenceBackend, planCost } from "@kvant/kernels";
import { describe, expect, test } from "vitest";
import { elementwiseCase, type KernelCase, kvCase, linearCase, matricesOf } from "./kernel-case.ts";
import { kernelError } from "./kernel-error.ts";
import { KernelRun } from "./kernel-run.ts";
import { measureKernels } from "./measure-kernels.ts";

const small: ModelConfig = {
  ...namedShape("tinyllama-1.1b"),
  hiddenSize: 64,
  intermediateSize: 96,
  headCount: 4,
  kvHeadCount: 2,
  headDim: 16,
  vocabSize: 80,
};
const int8 = parseWeightFormat("int8-channel");
const [fp32, bf16] = [parseWeightFormat("fp32"), parseWeightFormat("bf16")];

const cases: readonly KernelCase[] = [
  ...matricesOf(small).map((matrix) => linearCase(matrix, int8, "int8", 5, 1)),
  kvCase("attention", small, "int8", 8, 5, 50),
  kvCase("kvWrite", small, "e4m3", 8, 5, 5),
  ...(["rmsNorm", "rope", "siluMul", "embed"] as const).map((op) => elementwiseCase(op, small, fp32, bf16, 5)),
];

describe.each(cases)("$op $name", (each) => {
  test("is computed from numbers that are not all alike, and equals itself on the reference", async () => {
    const run = await KernelRun.open(createReferenceBackend(), each.record(2), {
      count: 1,
      start: each.context - each.tokens,
      tokens: each.tokens,
      sample: false,
    });
    await run.step();
    const values = run.result(each.tokens);
    await run.close();
    expect(new Set(values).size).toBeGreaterThan(16);
    expect(await kernelError(each, createReferenceBackend())).toEqual({ maxAbsoluteError: 0, relativeError: 0 });
  });

  test("costs twice as much in two copies", () => {
    const cost = (copies: number) => planCost(each.record(copies), { tokens: each.tokens, contexts: [each.context] });
    const [once, twice] = [cost(1), cost(2)];
    expect(twice.operations).toBe(2 * once.operations);
    expect(twice.weightBytes + twice.kvBytes).toBe(2 * (once.weightBytes + once.kvBytes));
  });
});

test("sequences that sample run beside each other, and the first as if alone", async () => {
  const each = kvCase("attention", small, "int8", 8, 1, 50);
  const rows = { start: 49, tokens: 1, sample: true, pageTokens: 32 };
  const results = [];
  for (const count of [1, 3]) {
    const run = await KernelRun.open(createReferenceBackend(), each.record(2, true), { ...rows, count });
    await run.step();
    results.push(run.result(count));
    await run.close();
  }
  const [alone, together] = results;
  const width = small.headCount * small.headDim;
  expect(together!.length).toBe(3 * width);
  expect(together!.slice(0, width)).toEqual(alone);
  expect(together!.slice(width, 2 * width)).not.toEqual(alone);
});

test("an error that is there is seen", async () => {
  const [matrix] = matricesOf(small);
  const each = linearCase(matrix!, int8, "int8", 5, 1);
  // A backend that computes something else: the same sizes with other formats.
  const other = linearCase(matrix!, bf16, "bf16", 5, 1).recordSlice();
  const reference = createReferenceBackend();
  const wrong = {
    ...reference,
    compile: (_: unknown, options: Parameters<typeof reference.compile>[1]) => reference.compile(other, options),
  };
  const { relativeError } = await kernelError(each, wrong);
  expect(relativeError).toBeGreaterThan(1e-4);
  expect(relativeError).toBeLessThan(0.1);
});

test("unknown kernels are refused by name", async () => {
  const rows = measureKernels({
    shape: "tinyllama-1.1b",
    ops: ["gemm"],
    weights: [],
    kvFormats: [],
    tokens: [1],
    context: 1,
    rounds: 1,
  });
  await expect(rows.next()).rejects.toThrow('no kernel is called "gemm"; there are linear, attention');
});
