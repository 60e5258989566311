import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorCode, KvantError } from "@kvant/core";
import { describe, expect, test } from "vitest";
import { writeRaw } from "../test/raw-safetensors.ts";
import { temporaryFolder } from "../test/temporary-folder.ts";
import { readSafetensors, SafetensorsFile, type Tensor, toFloat32, toInt32, writeSafetensors } from "./index.ts";

const folder = temporaryFolder();
const file = join(folder, "file.safetensors");

function float32(shape: number[], values: number[]): Tensor {
  return { dtype: "F32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}

const twoTensors = new Map<string, Tensor>([
  ["bytes", { dtype: "U8", shape: [3], data: new Uint8Array([7, 8, 9]) }],
  ["matrix", float32([3, 2], [1, 2, 3, 4, 5, 6])],
]);

describe("a written file", () => {
  test("reads back with its metadata", () => {
    writeSafetensors(file, twoTensors, { format: "pt" });
    const { tensors, metadata } = readSafetensors(file);
    expect(tensors).toEqual(twoTensors);
    expect(metadata).toEqual(new Map([["format", "pt"]]));
  });

  test("aligns the data to 8 bytes and leaves no temporary file", () => {
    writeSafetensors(file, twoTensors);
    const length = Number(readFileSync(file).readBigUInt64LE());
    expect(length % 8).toBe(0);
    expect(readdirSync(folder)).toEqual(["file.safetensors"]);
  });

  test("keeps names that JavaScript objects treat specially", () => {
    const odd = new Map(["__proto__", "10", "2", "constructor", 'a"b\\'].map((name) => [name, float32([], [1])]));
    writeSafetensors(file, odd);
    expect(new Set(readSafetensors(file).tensors.keys())).toEqual(new Set(odd.keys()));
  });

  test("may hold no tensors, and tensors without elements", () => {
    writeSafetensors(file, new Map());
    expect(readSafetensors(file).tensors.size).toBe(0);
    writeSafetensors(file, new Map([["empty", float32([0, 4], [])]]));
    expect(readSafetensors(file).tensors.get("empty")?.shape).toEqual([0, 4]);
  });

  test("is refused, and the old one kept, when data and shape disagree", () => {
    writeSafetensors(file, twoTensors);
    const wrong = new Map([["wrong", float32([3], [1, 2])]]);
    expect(() => writeSafetensors(file, wrong)).toThrow(
      'tensor "wrong" of dtype F32 and shape [3] cannot be written from 8 bytes',
    );
    expect(readSafetensors(file).tensors.size).toBe(2);
    expect(readdirSync(folder)).toEqual(["file.safetensors"]);
  });
});

describe("an open file", () => {
  test("reads rows without the rest", () => {
    writeSafetensors(file, twoTensors);
    const open = new SafetensorsFile(file);
    expect(open.readRows("matrix", 1, 2)).toEqual(float32([2, 2], [3, 4, 5, 6]));
    expect(open.readRows("matrix", 3, 0).shape).toEqual([0, 2]);
    for (const [start, count] of [
      [2, 2],
      [-1, 1],
      [0.5, 1],
      [0, Number.NaN],
    ] as const) {
      expect(() => open.readRows("matrix", start, count)).toThrow("outside tensor");
    }
    open.close();
  });

  test("names a tensor that it does not hold", () => {
    const open = new SafetensorsFile(file);
    expect(() => open.read("absent")).toThrow(
      expect.objectContaining({
        code: "TENSOR_MISSING",
        field: "absent",
        message: `${file}: there is no tensor "absent"`,
      }),
    );
    open.close();
  });

  test("refuses to read once closed, and closes twice", () => {
    const open = new SafetensorsFile(file);
    open.close();
    open.close();
    expect(() => open.read("matrix")).toThrow("is closed");
  });

  test("notices that it has shrunk", () => {
    writeSafetensors(file, twoTensors);
    const open = new SafetensorsFile(file);
    truncateSync(file, 100);
    expect(() => open.read("matrix")).toThrow(expect.objectContaining({ code: "CHECKPOINT_TRUNCATED" }));
    open.close();
  });

  test("must be a file", () => {
    mkdirSync(join(folder, "folder.safetensors"), { recursive: true });
    expect(() => new SafetensorsFile(join(folder, "folder.safetensors"))).toThrow("is not a file");
    expect(() => new SafetensorsFile(join(folder, "absent"))).toThrow(/absent: cannot be opened/);
  });
});

test("floating-point tensors convert to float32, others are refused by name", () => {
  const bf16: Tensor = { dtype: "BF16", shape: [2], data: new Uint8Array([0x80, 0x3f, 0x00, 0xc0]) };
  expect(toFloat32(bf16)).toEqual(new Float32Array([1, -2]));
  const unaligned = new Uint8Array([0, ...bf16.data]).subarray(1);
  expect(toFloat32({ ...bf16, data: unaligned })).toEqual(new Float32Array([1, -2]));
  expect(toFloat32({ dtype: "F16", shape: [1], data: new Uint8Array([0x00, 0x3c]) })).toEqual(new Float32Array([1]));
  expect(toFloat32({ dtype: "F8_E4M3", shape: [1], data: new Uint8Array([0x7e]) })).toEqual(new Float32Array([448]));
  const doubles = new Uint8Array(new Float64Array([0.1]).buffer);
  expect(toFloat32({ dtype: "F64", shape: [1], data: doubles })).toEqual(new Float32Array([0.1]));
  expect(() => toFloat32(twoTensors.get("bytes")!, "bytes")).toThrow("bytes has dtype U8");
});

test("integer tensors convert to 32 bits, and what does not fit is refused", () => {
  const wide = (values: bigint[]): Tensor => ({
    dtype: "I64",
    shape: [values.length],
    data: new Uint8Array(BigInt64Array.from(values).buffer),
  });
  expect(toInt32(wide([-1n, 2n]))).toEqual(new Int32Array([-1, 2]));
  expect(() => toInt32(wide([1n, 2n ** 31n]), "ids")).toThrow("ids holds 2147483648 at index 1, beyond 32 bits");
  expect(toInt32(twoTensors.get("bytes")!)).toEqual(new Int32Array([7, 8, 9]));
  expect(() => toInt32(twoTensors.get("matrix")!)).toThrow("dtype F32");
});

/** A header of one or more tensors with the given properties over a good one. */
function header(...tensors: Record<string, unknown>[]): string {
  const good = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  return JSON.stringify(Object.fromEntries(tensors.map((changes, i) => [`t${i}`, { ...good, ...changes }])));
}

const eightBytes = new Uint8Array(8);
const lies: [
  string,
  Parameters<typeof writeRaw>[1],
  Uint8Array<ArrayBuffer> | undefined,
  bigint | undefined,
  string,
][] = [
  ["a header longer than the file", "{}", undefined, 1000n, "claims a header of 1000 bytes, but the file has 2"],
  ["a header of 90 MB", "{}", undefined, 90_000_000n, "claims a header of 90000000 bytes"],
  ["a header beyond the limit", "{}", undefined, 100_000_001n, "the limit is 100000000"],
  ["a header of 2^64 - 1 bytes", "{}", undefined, 2n ** 64n - 1n, "18446744073709551615 bytes; the limit"],
  ["an empty header", "", undefined, undefined, "does not begin with {"],
  ["a header with a byte order mark", "\ufeff{}", undefined, undefined, "does not begin with {"],
  ["leading spaces", "  {}", undefined, undefined, "does not begin with {"],
  ["an array", "[]", undefined, undefined, "does not begin with {"],
  ["broken JSON", '{"a":', undefined, undefined, "is not JSON in UTF-8"],
  ["bytes after the JSON", "{}\0\0", undefined, undefined, "is not JSON in UTF-8"],
  ["invalid UTF-8", new Uint8Array([0x7b, 0xff, 0x7d]), undefined, undefined, "is not JSON in UTF-8"],
  ["a tensor named twice", `{"a":${header({}).slice(6, -1)},"\\u0061":{}}`, eightBytes, undefined, 'names "a" twice'],
  ["a property given twice", '{"a":{"dtype":"U8","dtype":"I8"}}', undefined, undefined, 'names "dtype" twice'],
  ["a tensor that is not an object", '{"a":7}', undefined, undefined, 'tensor "a" is described by 7'],
  ["an unknown property", header({ stride: 1 }), eightBytes, undefined, 'an unknown property "stride"'],
  ["an unknown dtype", header({ dtype: "F31" }), eightBytes, undefined, 'dtype "F31"; there are BOOL'],
  ["a dtype of Object's", header({ dtype: "toString" }), eightBytes, undefined, 'dtype "toString"'],
  ["no dtype", header({ dtype: undefined }), eightBytes, undefined, "dtype nothing"],
  ["a shape that is a number", header({ shape: 2 }), eightBytes, undefined, "has shape 2"],
  ["a negative size", header({ shape: [-2] }), eightBytes, undefined, "has shape [-2]"],
  ["a fractional size", header({ shape: [2.5] }), eightBytes, undefined, "has shape [2.5]"],
  [
    "a size beyond the safe integers",
    header({ shape: [2 ** 53] }),
    eightBytes,
    undefined,
    "has shape [9007199254740992]",
  ],
  ["a product beyond the safe integers", header({ shape: [2 ** 52, 2 ** 52] }), eightBytes, undefined, "needs 8.1"],
  ["nine dimensions", header({ shape: Array(9).fill(1) }), eightBytes, undefined, "9 dimensions; the limit is 8"],
  ["a million dimensions", header({ shape: Array(1e6).fill(1) }), eightBytes, undefined, "the limit is 8"],
  ["one offset", header({ data_offsets: [0] }), eightBytes, undefined, "data_offsets [0]"],
  ["a negative offset", header({ data_offsets: [-8, 0] }), eightBytes, undefined, "data_offsets [-8,0]"],
  ["an end before the start", header({ data_offsets: [8, 0] }), eightBytes, undefined, "before it begins"],
  [
    "a range that the shape does not fill",
    header({ shape: [1] }),
    eightBytes,
    undefined,
    "needs 4 bytes, but its data_offsets hold 8",
  ],
  [
    "a range beyond the file",
    header({ shape: [2 ** 40], data_offsets: [0, 2 ** 42] }),
    eightBytes,
    undefined,
    "promises 4398046511104 bytes of data, the file has 8",
  ],
  [
    "a gap before the first tensor",
    header({ data_offsets: [8, 16] }),
    new Uint8Array(16),
    undefined,
    "bytes 0 to 8 of the data",
  ],
  ["a gap between tensors", header({}, { data_offsets: [9, 17] }), new Uint8Array(17), undefined, "bytes 8 to 9"],
  [
    "an overlap",
    header({}, { data_offsets: [4, 12] }),
    new Uint8Array(12),
    undefined,
    'tensor "t1" begins at byte 4, inside',
  ],
  ["two tensors in one place", header({}, {}), eightBytes, undefined, "inside the one that ends at 8"],
  ["bytes after the last tensor", header({}), new Uint8Array(9), undefined, "1 bytes follow the last tensor"],
  ["metadata that is a list", '{"__metadata__":[]}', undefined, undefined, "__metadata__ is not an object"],
  ["metadata that is not text", '{"__metadata__":{"a":1}}', undefined, undefined, '__metadata__ "a" is 1'],
];

test.each(lies)("%s is refused", (_, text, data, claimed, sentence) => {
  const path = writeRaw(join(folder, "lie.safetensors"), text, data, claimed);
  const before = process.memoryUsage().arrayBuffers;
  let thrown: unknown;
  try {
    new SafetensorsFile(path);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(KvantError);
  expect(String(thrown)).toContain(path);
  expect(String(thrown)).toContain(sentence);
  expect(String(thrown).length).toBeLessThan(600);
  // The longest of these files has some megabytes, which is what may be read; what it claims is not.
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16_000_000);
});

test("a file cut at any byte is refused", () => {
  writeSafetensors(file, twoTensors);
  const whole = readFileSync(file);
  for (let bytes = 0; bytes < whole.length; bytes++) {
    writeFileSync(join(folder, "cut.safetensors"), whole.subarray(0, bytes));
    let code: string | undefined;
    try {
      new SafetensorsFile(join(folder, "cut.safetensors")).close();
    } catch (error) {
      code = errorCode(error);
    }
    expect(code).toBe("CHECKPOINT_TRUNCATED");
  }
});

const seed = 918_273;
test(`a file with random bytes changed opens or fails with a KvantError (seed ${seed})`, () => {
  writeSafetensors(file, twoTensors, { format: "pt" });
  const whole = readFileSync(file);
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let refused = 0;
  for (let round = 0; round < 3000; round++) {
    const bytes = new Uint8Array(whole);
    for (let change = random(4); change >= 0; change--) bytes[random(bytes.length - 36)] = random(256);
    writeFileSync(join(folder, "changed.safetensors"), bytes);
    try {
      readSafetensors(join(folder, "changed.safetensors"));
    } catch (error) {
      if (!(error instanceof KvantError)) expect.fail(`round ${round} threw ${error}`);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(2000);
});
