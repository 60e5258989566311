import { errorCode } from "@kvant/core";
import { parseWeightFormat, type QuantizedTensor, scaleCount, weightBytes } from "@kvant/formats";
import type { Executable } from "../../backend.ts";
import type { PlanWeight } from "../../plan.ts";
import { floatSource } from "../conformance-case.ts";
import type { BackendFactory, ConformanceCheck } from "../conformance-check.ts";
import { type OneProduct, oneProduct } from "../one-product.ts";
import { Random } from "../random.ts";
import { randomCodes } from "../random-codes.ts";
import { differentBits } from "./compare-bits.ts";

const seed = 41;
const [tokens, cols, rows] = [3, 171, 37];

function product(weights: string): OneProduct {
  return { weights, activation: { format: "fp32" }, rows, cols, x: new Random(seed).normals(tokens * cols) };
}

/** What is wrong with codes: their weight's format, the code to expect, and a good tensor spoiled. */
interface Spoiler {
  readonly weights: string;
  readonly expected: "INVALID_ARGUMENT" | "TENSOR_SHAPE";
  readonly spoil: (good: QuantizedTensor) => QuantizedTensor;
  /** 0 where absent. */
  readonly firstRow?: number;
}

const spoilers: Readonly<Record<string, Spoiler>> = {
  "codes of another format": {
    weights: "int8-channel",
    expected: "INVALID_ARGUMENT",
    spoil: (good) => ({ ...good, weightFormat: parseWeightFormat("e4m3-channel") }),
  },
  "codes for a weight without scales": {
    weights: "bf16",
    expected: "INVALID_ARGUMENT",
    spoil: (good) => good,
  },
  "a byte of codes too few": {
    weights: "int4-g32",
    expected: "TENSOR_SHAPE",
    spoil: (good) => ({ ...good, codes: good.codes.slice(1) }),
  },
  "a scale too many": {
    weights: "int4-g32",
    expected: "TENSOR_SHAPE",
    spoil: (good) => ({ ...good, scales: new Float32Array(good.scales.length + 1) }),
  },
  "no zero points": {
    weights: "int4-g32-affine",
    expected: "TENSOR_SHAPE",
    spoil: (good) => ({ ...good, zeroPoints: undefined }),
  },
  "zero points of a symmetric format": {
    weights: "int8-channel",
    expected: "TENSOR_SHAPE",
    spoil: (good) => ({ ...good, zeroPoints: new Int8Array(good.scales.length) }),
  },
  "a row beyond the weight": {
    weights: "int8-channel",
    expected: "TENSOR_SHAPE",
    spoil: (good) => good,
    firstRow: 1,
  },
  "another width": {
    weights: "int8-channel",
    expected: "TENSOR_SHAPE",
    spoil: (good) => ({ ...good, cols: cols - 1 }),
  },
  "some rows under a scale for all": {
    weights: "int8-tensor",
    expected: "INVALID_ARGUMENT",
    spoil: (good) => ({ ...good, rows: 2, codes: good.codes.slice(0, 2 * cols) }),
  },
  "a scale that is NaN": {
    weights: "int8-channel",
    expected: "INVALID_ARGUMENT",
    spoil: (good) => ({ ...good, scales: good.scales.map((scale, i) => (i === 3 ? NaN : scale)) }),
  },
  "a zero point that is no code": {
    weights: "int4-g32-affine",
    expected: "INVALID_ARGUMENT",
    spoil: (good) => ({ ...good, zeroPoints: good.zeroPoints!.map(() => 8) }),
  },
  "a nibble that is no int3 code": {
    weights: "int3-g32",
    expected: "INVALID_ARGUMENT",
    spoil: (good) => ({ ...good, codes: good.codes.map((code, i) => (i === 5 ? 0x05 : code)) }),
  },
  "an infinite code": {
    weights: "e5m2-channel",
    expected: "INVALID_ARGUMENT",
    spoil: (good) => ({ ...good, codes: good.codes.map((code, i) => (i === 5 ? 0xfc : code)) }),
  },
  "a scale of mxfp4 that is no power of two": {
    weights: "mxfp4",
    expected: "INVALID_ARGUMENT",
    spoil: (good) => ({ ...good, scales: good.scales.map((scale, i) => (i === 2 ? 0.3 : scale)) }),
  },
  "a scale of nvfp4 beside the tensor scale": {
    weights: "nvfp4",
    expected: "INVALID_ARGUMENT",
    spoil: (good) => ({ ...good, scales: good.scales.map((scale, i) => (i === 2 ? scale * 1.01 : scale)) }),
  },
  "nvfp4 without a tensor scale": {
    weights: "nvfp4",
    expected: "INVALID_ARGUMENT",
    spoil: ({ tensorScale: _, ...good }) => good,
  },
};

export const codeRejectionChecks: readonly ConformanceCheck[] = [
  {
    group: "rejected codes",
    name: `${Object.keys(spoilers).length} impossible tensors are refused and change nothing`,
    run: checkRefusals,
  },
  { group: "rejected codes", name: "rows that arrive twice are refused", run: checkRepeatedRows },
];

async function checkRefusals(create: BackendFactory): Promise<readonly string[]> {
  const failures: string[] = [];
  for (const [name, { weights, expected, spoil, firstRow = 0 }] of Object.entries(spoilers)) {
    const format = parseWeightFormat(weights);
    // What no tensor is made for gets arrays of the right sizes.
    const good: QuantizedTensor =
      format.granularity === undefined
        ? {
            weightFormat: format,
            rows,
            cols,
            codes: new Uint8Array(weightBytes(format, rows, cols).codes),
            scales: new Float32Array(),
            zeroPoints: undefined,
          }
        : randomCodes(format, rows, cols, new Random(seed));
    const load = (executable: Executable, { id }: PlanWeight) => {
      if (format.granularity === undefined)
        executable.loadWeight(id, floatSource(new Random(seed).normals(rows * cols)));
      else executable.loadQuantized(id, 0, good);
    };
    const [after, alone] = await Promise.all([
      oneProduct(product(weights), create(), (executable, weight) => {
        const refusal = thrownBy(() => executable.loadQuantized(weight.id, firstRow, spoil(good)));
        if (refusal !== expected) failures.push(`${name} gives ${refusal}, not ${expected}`);
        load(executable, weight);
      }),
      oneProduct(product(weights), create(), load),
    ]);
    const difference = differentBits(`the product after ${name}`, after, alone);
    if (difference !== undefined) failures.push(difference);
  }
  return failures;
}

async function checkRepeatedRows(create: BackendFactory): Promise<readonly string[]> {
  const failures: string[] = [];
  const format = parseWeightFormat("int8-channel");
  const { codes, scales } = randomCodes(format, rows, cols, new Random(seed));
  const rowsFrom = (first: number, end: number): QuantizedTensor => ({
    weightFormat: format,
    rows: end - first,
    cols,
    codes: codes.slice(first * cols, end * cols),
    scales: scales.slice(first, first + scaleCount(format.granularity!, [end - first, cols])),
    zeroPoints: undefined,
  });
  await oneProduct(product("int8-channel"), create(), (executable, { id }) => {
    const refuse = (what: string, expected: string, call: () => void) => {
      const refusal = thrownBy(call);
      if (refusal !== expected) failures.push(`${what} gives ${refusal}, not ${expected}`);
    };
    executable.loadQuantized(id, 5, rowsFrom(5, 20));
    refuse("a row again", "TENSOR_SHAPE", () => executable.loadQuantized(id, 19, rowsFrom(19, rows)));
    refuse("floats for rows that are there", "TENSOR_SHAPE", () =>
      executable.loadWeight(id, floatSource(new Float32Array(rows * cols))),
    );
    executable.loadQuantized(id, 0, rowsFrom(0, 5));
    executable.loadQuantized(id, 20, rowsFrom(20, rows));
    refuse("a whole weight again", "INVALID_ARGUMENT", () => executable.loadQuantized(id, 0, rowsFrom(0, rows)));
  });
  return failures;
}

function thrownBy(call: () => void): string {
  try {
    call();
    return "no error";
  } catch (error) {
    return errorCode(error);
  }
}
