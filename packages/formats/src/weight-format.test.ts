import { KvantError } from "@kvant/core";
import { describe, expect, test } from "vitest";
import {
  codeArray,
  forEachScale,
  type Granularity,
  parseActivationFormat,
  parseKvFormat,
  parseWeightFormat,
  quantizeAbsMax,
  scaleCount,
  spreadOverRow,
  weightBytes,
  weightFormatName,
  weightFormats,
} from "./index.ts";

describe.each([...weightFormats])("%s", (name, weightFormat) => {
  test("is read from its own name", () => {
    expect(parseWeightFormat(name)).toEqual(weightFormat);
    expect(weightFormatName(weightFormat)).toBe(name);
  });

  test("takes as many bytes as its codes and scales", () => {
    const [rows, cols] = [3, 131];
    const bytes = weightBytes(weightFormat, rows, cols);
    if (weightFormat.granularity === undefined) {
      expect(bytes).toEqual({ codes: codeArray(weightFormat.format, rows * cols).byteLength, scales: 0 });
      return;
    }
    const tensor = quantizeAbsMax(new Float32Array(rows * cols), rows, cols, weightFormat);
    const perScale = weightFormat.scaleFormat === undefined ? 4 : 1;
    const rest = (tensor.zeroPoints?.byteLength ?? 0) + (weightFormat.scaleFormat === "e4m3" ? 4 : 0);
    expect(bytes).toEqual({ codes: tensor.codes.length, scales: tensor.scales.length * perScale + rest });
  });
});

test("int8 and e4m3 stand for their channel forms, and nothing else has a default granularity", () => {
  expect(weightFormatName(parseWeightFormat("int8"))).toBe("int8-channel");
  expect(weightFormatName(parseWeightFormat("e4m3"))).toBe("e4m3-channel");
  for (const name of ["int4", "fp4", "e5m2", "int8-g48", "int8-", "INT8", "", "e4m3-tensor-affine"]) {
    expect(() => parseWeightFormat(name)).toThrow(KvantError);
  }
  expect(() => parseWeightFormat("int4")).toThrow(
    'no weight format is called "int4"; there are fp32, bf16, fp16, mxfp4, nvfp4, and {int8, int4, e4m3, e5m2, fp4}-{tensor, channel, g32, g64, g128}',
  );
});

test("MXFP4 takes 4.25 bits per weight and NVFP4 4.5, besides its tensor scale", () => {
  expect(weightBytes(parseWeightFormat("mxfp4"), 4, 64)).toEqual({ codes: 128, scales: 8 });
  expect(weightBytes(parseWeightFormat("nvfp4"), 4, 64)).toEqual({ codes: 128, scales: 16 + 4 });
});

test("layouts that have no name on the command line are still printed", () => {
  expect(weightFormatName({ format: "int8", granularity: { kind: "group", size: 48 }, affine: false })).toBe(
    "int8-g48",
  );
  expect(weightFormatName({ format: "int8", granularity: { kind: "channel", axis: 1 }, affine: false })).toBe(
    "int8-channel1",
  );
});

test("KV and activation formats are read from their names", () => {
  expect(["fp32", "bf16", "fp16", "e4m3", "e5m2", "int8"].map(parseKvFormat)).toContain("e5m2");
  expect(() => parseKvFormat("int4")).toThrow('no KV format is called "int4"');
  expect(["fp32", "bf16", "fp16", "int8", "e4m3"].map(parseActivationFormat)).toContain("int8");
  expect(() => parseActivationFormat("e5m2")).toThrow("there are fp32, bf16, fp16, int8, e4m3");
});

const granularities: Granularity[] = [
  { kind: "tensor" },
  { kind: "channel", axis: 0 },
  { kind: "channel", axis: 1 },
  { kind: "group", size: 4 },
  { kind: "group", size: 100 },
];

test.each(granularities)("every element of a matrix shares exactly one scale: %o", (granularity) => {
  const [rows, cols] = [3, 10];
  const owner = new Int8Array(rows * cols).fill(-1);
  let visited = 0;
  forEachScale(granularity, [rows, cols], (scale, start, end, stride) => {
    expect(scale).toBe(visited++);
    for (let i = start; i < end; i += stride) {
      expect(owner[i]).toBe(-1);
      owner[i] = scale;
    }
  });
  expect(visited).toBe(scaleCount(granularity, [rows, cols]));
  const row = new Float32Array(cols);
  const indices = Float32Array.from({ length: visited }, (_, i) => i);
  for (let r = 0; r < rows; r++) {
    spreadOverRow(granularity, indices, r, row);
    expect([...row]).toEqual([...owner.subarray(r * cols, (r + 1) * cols)]);
  }
});

test("scale counts follow the granularity, short last groups included", () => {
  expect(granularities.map((each) => scaleCount(each, [3, 10]))).toEqual([1, 3, 10, 9, 3]);
});
