import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readGguf } from "../../test/read-gguf.ts";
import { sharedData, sharedDataAbsent } from "../../test/shared-data.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { encodeGgml } from "./ggml-blocks.ts";
import type { GgufValue } from "./gguf-value.ts";
import { type GgufTensor, writeGguf } from "./write-gguf.ts";

const folder = temporaryFolder();
const path = join(folder, "file.gguf");
const ramp = Float32Array.from({ length: 96 }, (_, i) => i - 40);

function tensor(name: string, type: GgufTensor["type"], shape: readonly number[], values: Float32Array): GgufTensor {
  return { name, type, shape, data: () => [encodeGgml(type, values)] };
}

describe("a written file", () => {
  test("reads back: every type of value, text beyond ASCII, shapes reversed, data aligned", () => {
    const metadata = new Map<string, GgufValue>([
      ["general.architecture", { type: "string", value: "llama" }],
      ["count", { type: "uint32", value: 4_000_000_000 }],
      ["negative", { type: "int32", value: -7 }],
      ["epsilon", { type: "float32", value: 0.25 }],
      ["flag", { type: "bool", value: true }],
      ["tokens", { type: "strings", values: ["a", "", "日本", "▁b"] }],
      ["scores", { type: "float32s", values: [0, -1.5] }],
      ["kinds", { type: "int32s", values: [1, 3, 6] }],
    ]);
    writeGguf(path, metadata, [
      tensor("half", "F16", [3], ramp.subarray(0, 3)),
      tensor("eight", "Q8_0", [3, 32], ramp),
      tensor("four", "Q4_0", [1, 3, 32], ramp),
      tensor("float", "F32", [2, 2], ramp.subarray(0, 4)),
    ]);
    const file = readGguf(readFileSync(path));
    expect([...file.metadata]).toEqual(
      [...metadata].map(([key, value]) => [key, "values" in value ? value.values : value.value]),
    );
    expect([...file.tensors].map(([name, { type, dimensions }]) => [name, type, dimensions])).toEqual([
      ["half", 1, [3]],
      ["eight", 8, [32, 3]],
      ["four", 2, [32, 3, 1]],
      ["float", 0, [2, 2]],
    ]);
    expect(new Uint8Array(file.tensors.get("eight")!.data)).toEqual(encodeGgml("Q8_0", ramp));
    expect(new Uint8Array(file.tensors.get("four")!.data)).toEqual(encodeGgml("Q4_0", ramp));
    expect(readdirSync(folder)).toEqual(["file.gguf"]);
  });

  test("takes a tensor in pieces", () => {
    const bytes = encodeGgml("Q8_0", ramp);
    writeGguf(path, new Map(), [
      { name: "t", type: "Q8_0", shape: [96], data: () => [bytes.subarray(0, 5), bytes.subarray(5)] },
    ]);
    expect(new Uint8Array(readGguf(readFileSync(path)).tensors.get("t")!.data)).toEqual(bytes);
  });
});

describe("a file that cannot be right", () => {
  const other = join(folder, "other.gguf");
  const block = encodeGgml("Q8_0", ramp.subarray(0, 32));

  test.each([
    ["rows of half a block", [1, 48], [block], "rows of 48 values, which are no whole Q8_0 blocks of 32"],
    ["too little data", [2, 32], [block], 'tensor "t" of type Q8_0 and shape [2, 32] has 68 bytes, not 34'],
    ["too much data", [1, 32], [block, block], "has 34 bytes, not 68"],
  ])("is refused and leaves nothing behind: %s", (_, shape, pieces, message) => {
    const tensors: GgufTensor[] = [{ name: "t", type: "Q8_0", shape, data: () => pieces }];
    expect(() => writeGguf(other, new Map(), tensors)).toThrow(message);
    expect(readdirSync(folder).filter((name) => name.startsWith("other"))).toEqual([]);
  });
});

describe.skipIf(sharedDataAbsent !== undefined)("a public file", () => {
  test("is written again byte for byte from what was read", () => {
    const original = readFileSync(join(sharedData, "models/stories260K/stories260K-q8_0.gguf"));
    const { metadata, tensors } = readGguf(original);
    expect(metadata.get("general.architecture")).toBe("llama");
    expect(tensors.size).toBeGreaterThan(40);
    const names = { 0: "F32", 1: "F16", 2: "Q4_0", 8: "Q8_0" } as const;
    writeGguf(
      path,
      new Map(),
      [...tensors].map(([name, { type, dimensions, data }]) => ({
        name,
        type: names[type as keyof typeof names],
        shape: dimensions.toReversed(),
        data: () => [data],
      })),
    );
    const written = readFileSync(path);
    // Data sections and tensor descriptions are the same; only the metadata before them differs.
    const dataBytes = [...tensors.values()].reduce((sum, { data }) => sum + Math.ceil(data.length / 32) * 32, 0);
    expect(written.subarray(-dataBytes).equals(original.subarray(-dataBytes))).toBe(true);
    expect([...readGguf(written).tensors.keys()]).toEqual([...tensors.keys()]);
  });
});
