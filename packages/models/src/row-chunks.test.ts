import { parseWeightFormat } from "@kvant/formats";
import type { PlanWeight, WeightId } from "@kvant/kernels";
import { expect, test } from "vitest";
import { rowChunks } from "./row-chunks.ts";

const byRows = { loadWeightRows: () => undefined };
const weight = (rows: number, cols: number, format: string): PlanWeight => ({
  id: 0 as WeightId,
  ...{ name: "w", class: "linear", rows, cols, format: parseWeightFormat(format), activation: { format: "bf16" } },
});

test("a large tensor is cut into whole blocks of 16 rows that cover it", () => {
  const chunks = rowChunks([weight(32_005, 2000, "int8-channel")], 2, byRows);
  expect(chunks.length).toBeGreaterThan(10);
  let next = 0;
  for (const { firstRow, rows } of chunks) {
    expect(firstRow).toBe(next);
    expect(firstRow % 16).toBe(0);
    expect(rows * 2000 * 2).toBeLessThanOrEqual(8 * 2 ** 20);
    next += rows;
  }
  expect(next).toBe(32_005);
});

test("small tensors, and those with very long rows, still have chunks", () => {
  expect(rowChunks([weight(5, 8, "fp32")], 4, byRows)).toEqual([{ firstRow: 0, rows: 5 }]);
  expect(rowChunks([weight(20, 2 ** 23, "fp32")], 4, byRows)).toEqual([
    { firstRow: 0, rows: 16 },
    { firstRow: 16, rows: 4 },
  ]);
});

test("one scale for the whole tensor, or a backend that takes whole tensors, leaves one chunk", () => {
  const whole = [{ firstRow: 0, rows: 32_000 }];
  expect(rowChunks([weight(32_000, 2048, "int8-tensor")], 2, byRows)).toEqual(whole);
  expect(rowChunks([weight(32_000, 2048, "bf16"), weight(32_000, 2048, "nvfp4")], 2, byRows)).toEqual(whole);
  expect(rowChunks([weight(32_000, 2048, "bf16")], 2, { loadWeightRows: undefined })).toEqual(whole);
});
