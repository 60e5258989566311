import { expect, test } from "vitest";
import { machineMemory } from "./machine-memory.ts";

test("a container's bound counts where there is one", () => {
  expect(machineMemory(1000, 300)).toBe(300);
  expect(machineMemory(1000, 2 ** 63)).toBe(1000);
  expect(machineMemory(1000, 0)).toBe(1000);
});
