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
    'no weight format is called "int4"; there are fp32, bf16, fp16, mxfp4, mxfp8, nvfp4, ' +
      "and {int8, int4, int3, int2, e4m3, e5m2, fp4}-{tensor, channel, g32, g64, g128, t128x128}",
  );
});

test("MXFP4 takes 4.25 bits per weight, MXFP8 8.25, and NVFP4 4.5 besides its tensor scale", () => {
  expect(weightBytes(parseWeightFormat("mxfp4"), 4, 64)).toEqual({ codes: 128, scales: 8 });
  expect(weightBytes(parseWeightFormat("mxfp8"), 4, 64)).toEqual({ codes: 256, scales: 8 });
  expect(weightBytes(parseWeightFormat("nvfp4"), 4, 64)).toEqual({ codes: 128, scales: 16 + 4 });
});

test("int3 and int2 take the bytes of int4, whose nibbles hold them", () => {
  for (const suffix of ["channel", "g32", "g128-affine"]) {
    const int4 = weightBytes(parseWeightFormat(`int4-${suffix}`), 3, 131);
    for (const name of ["int3", "int2"]) {
      expect(weightBytes(parseWeightFormat(`${name}-${suffix}`), 3, 131)).toEqual(int4);
    }
  }
});

test("layouts that have no name on the command line are still printed", () => {
  expect(weightFormatName({ format: "int8", granularity: { kind: "group", size: 48 }, affine: false })).toBe(
    "int8-g48",
  );
  expect(weightFormatName({ format: "int8", granularity: { kind: "channel", axis: 1 }, affine: false })).toBe(
    "int8-channel1",
  );
  expect(weightFormatName({ format: "e4m3", granularity: { kind: "tile", rows: 64, cols: 32 }, affine: false })).toBe(
    "e4m3-t64x32",
  );
  expect(() => weightFormatName({ ...parseWeightFormat("int8"), scaleFormat: "e4m3" })).toThrow(
    "no weight format has int8 codes with e4m3 scales",
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
  { kind: "tile", rows: 2, cols: 4 },
  { kind: "tile", rows: 3, cols: 5 },
  { kind: "tile", rows: 100, cols: 3 },
];

test.each(granularities)("every element of a matrix shares exactly one scale: %o", (granularity) => {
  const [rows, cols] = [5, 10];
  const positions = Float32Array.from({ length: rows * cols }, (_, i) => i); // each value says where it lies
  const owner = new Int8Array(rows * cols).fill(-1);
  let visited = 0;
  forEachScale(granularity, [rows, cols], positions, (scale, members, start, end) => {
    expect(scale).toBe(visited++);
    for (const position of members.subarray(start, end)) {
      expect(owner[position]).toBe(-1);
      owner[position] = scale;
    }
  });
  expect(visited).toBe(scaleCount(granularity, [rows, cols]));
  expect(owner).not.toContain(-1);
  const row = new Float32Array(cols);
  const indices = Float32Array.from({ length: visited }, (_, i) => i);
  for (let r = 0; r < rows; r++) {
    spreadOverRow(granularity, indices, r, row);
    expect([...row]).toEqual([...owner.subarray(r * cols, (r + 1) * cols)]);
  }
});

test("scale counts follow the granularity, short last groups and tiles at the edges included", () => {
  expect(granularities.map((each) => scaleCount(each, [5, 10]))).toEqual([1, 5, 10, 15, 5, 9, 4, 4]);
});

test.each([...granularities])("a matrix without rows or columns has scales without members: %o", (granularity) => {
  for (const shape of [
    [0, 7],
    [7, 0],
    [0, 0],
  ] as const) {
    let members = 0;
    forEachScale(granularity, shape, new Float32Array(0), (_, __, start, end) => {
      members += end - start;
    });
    expect(members).toBe(0);
  }
});

test("the sides of a tile are positive integers", () => {
  for (const tile of [
    { rows: 0, cols: 4 },
    { rows: 4, cols: 1.5 },
  ]) {
    expect(() => scaleCount({ kind: "tile", ...tile }, [4, 4])).toThrow("the side of a tile is a positive integer");
  }
});
