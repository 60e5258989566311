import { namedShape } from "@kvant/checkpoint";
import { layerParts } from "@kvant/engine";
import { expect, test } from "vitest";
import { layerOperations } from "./layer-operations.ts";

const rows: Readonly<Record<string, number>> = {
  q: 4096,
  k: 1024,
  v: 1024,
  o: 4096,
  gate: 14336,
  up: 14336,
  down: 4096,
};

test("a layer of llama3-8b with 128 x 2048 tokens takes what the formulas say", () => {
  const config = namedShape("llama3-8b");
  const operations = layerOperations({
    config,
    parts: layerParts(config, 0),
    rowsOf: (module) => rows[/(\w+)_proj$/.exec(module)![1]!]!,
    sequences: 128,
    sequenceTokens: 2048,
    groupCols: 128,
  });
  const tokens = 128 * 2048;
  const weights = 4096 * (2 * 4096 + 2 * 1024 + 3 * 14336);
  // Products, then attention over half of all pairs of tokens.
  expect(operations.statistics.float32).toBe(2 * tokens * weights + 128 * 2 * 2048 * 2049 * 4096);
  expect(operations["forward again"]).toEqual({ float32: operations.statistics.float32, float64: 0 });
  expect(operations.statistics.float64).toBe(tokens * (3 * 4096 * 4097 + 14336 * 14337));
  const errors = 2 * (4096 ** 2 * (2 * 4096 + 2 * 1024 + 2 * 14336) + 14336 ** 2 * 4096);
  expect(operations["output errors"].float64).toBe(errors);
  expect(operations["awq scales"].float64).toBe(20 * errors);
  expect(operations.gptq.float64).toBeCloseTo(errors / 2 + 2 * errors + (2 / 3) * (3 * 4096 ** 3 + 14336 ** 3), -6);
  expect(operations["awq clipping"].float64).toBe(2 * errors + 21 * 2 * weights * 128);
  expect(operations.report).toEqual({ float32: 0, float64: 0 });
});
