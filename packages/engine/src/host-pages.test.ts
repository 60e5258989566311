import { expect, test } from "vitest";
import { hostPages } from "./host-pages.ts";
import { machineMemory } from "./machine-memory.ts";

// A page of 16 tokens: 2 layers x (K and V) x 2 heads x 16 tokens x (32 codes + 4 bytes of scale).
const group = {
  layerCount: 2,
  kvHeads: 2,
  headDim: 32,
  window: undefined,
  format: "int8",
  scales: { kind: "token-head" },
} as const;
const pageBytes = 2 * 2 * 2 * 16 * 36;
const sizes = { pageTokens: 16, pageCounts: [20], swapMemoryBytes: undefined, deviceHasOwnMemory: true };

test("host pages fit the bytes that are given, over all layer groups", () => {
  expect(hostPages([group], { ...sizes, swapMemoryBytes: 30.9 * pageBytes })).toEqual([30]);
  expect(hostPages([group, group], { ...sizes, pageCounts: [20, 20], swapMemoryBytes: 9.9 * pageBytes })).toEqual([
    4, 4,
  ]);
  expect(hostPages([group], { ...sizes, swapMemoryBytes: 0 })).toEqual([0]);
  expect(() => hostPages([group], { ...sizes, swapMemoryBytes: -1 })).toThrow(
    expect.objectContaining({ code: "INVALID_ARGUMENT", field: "swapMemoryBytes" }),
  );
});

test("by default there are as many as the device has pages, at most 4 GiB and a quarter of the machine's memory", () => {
  expect(hostPages([group], sizes)).toEqual([19]);
  const affordable = Math.floor(Math.min(4 * 2 ** 30, machineMemory() / 4) / pageBytes);
  expect(hostPages([group], { ...sizes, pageCounts: [10_000_000] })).toEqual([affordable]);
});

test("by default there are none where host memory is the device's memory", () => {
  expect(hostPages([group], { ...sizes, deviceHasOwnMemory: false })).toEqual([0]);
});
