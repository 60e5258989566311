import { formats } from "@kvant/formats";
import { describe, expect, test } from "vitest";
import type { KvGroup } from "../plan.ts";
import { PageMemory } from "./page-memory.ts";

const group: KvGroup = {
  layerCount: 2,
  kvHeads: 2,
  headDim: 4,
  window: undefined,
  format: "int8",
  scales: { kind: "token-head" },
};
const place = { layer: 1, page: 2, offset: 3 };

test("codes and scales lie where the page layout says", () => {
  const memory = new PageMemory(group, 16, 4);
  memory.write("k", place, 1, Float32Array.of(0, -127, 63.5, 1));
  memory.write("v", place, 1, Float32Array.of(254, 2, -2, 0));
  const { kCodes, vCodes, kScales, vScales, layerBytes } = memory.layout;
  const page = memory.page(2);
  const token = 1 * 16 + 3; // head 1, token 3
  const codes = (part: number) => [...new Int8Array(page.buffer, layerBytes + part + token * 4, 4)];
  const scale = (part: number) => new Float32Array(page.buffer, layerBytes + part + token * 4, 1)[0];
  expect(codes(kCodes)).toEqual([0, -127, 64, 1]); // 63.5 is a tie and goes to even
  expect(codes(vCodes)).toEqual([127, 1, -1, 0]);
  expect([scale(kScales), scale(vScales)]).toEqual([1, 2]);
  expect(memory.page(1).every((byte) => byte === 0)).toBe(true);
});

test("reading gives codes times scale", () => {
  const memory = new PageMemory(group, 16, 4);
  memory.write("k", place, 0, Float32Array.of(10, 5, -10, 0.01));
  const out = new Float32Array(4);
  memory.read("k", place, 0, out);
  const scale = Math.fround(10 / 127);
  expect([...out]).toEqual([127, 64, -127, 0].map((code) => Math.fround(code * scale)));
});

describe("static scales", () => {
  test("clip what lies beyond them and count it", () => {
    const scales = { kind: "tensor", k: Float32Array.of(1, 0.5), v: Float32Array.of(1, 1) } as const;
    const memory = new PageMemory({ ...group, scales }, 16, 4);
    expect(memory.write("k", place, 0, Float32Array.of(1, -100, 63.5, 64))).toBe(2);
    const out = new Float32Array(4);
    memory.read("k", place, 0, out);
    expect([...out]).toEqual([1, -63.5, 63.5, 63.5]);
  });

  test("take no bytes of the page", () => {
    const scales = { kind: "head", k: new Float32Array(4).fill(1), v: new Float32Array(4).fill(1) } as const;
    expect(new PageMemory({ ...group, scales }, 16, 1).byteLength).toBe(2 * 2 * (2 * 16 * 4));
  });
});

test("a head of zeros has scale 0 and reads as zeros", () => {
  const memory = new PageMemory(group, 16, 4);
  memory.write("v", place, 0, new Float32Array(4));
  const out = new Float32Array(4).fill(9);
  memory.read("v", place, 0, out);
  expect([...out]).toEqual([0, 0, 0, 0]);
});

test("16-bit formats store each value rounded once", () => {
  const memory = new PageMemory({ ...group, format: "bf16", scales: { kind: "none" } }, 16, 4);
  memory.write("k", place, 0, Float32Array.of(1 / 3, -2, 1e30, 0));
  const out = new Float32Array(4);
  memory.read("k", place, 0, out);
  const { encode, decode } = formats.bf16;
  expect([...out]).toEqual([1 / 3, -2, 1e30, 0].map((value) => decode(encode(value))));
});
