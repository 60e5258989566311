import { createBackend, cudaAbsence } from "@kvant/kernels";
import { PartCollector } from "@kvant/quantizers";
import { describe, expect, test } from "vitest";
import { quantizeChecks } from "../testing/quantize-checks.ts";
import { DeviceStatisticsCollector } from "./device-collectors.ts";

const absence = cudaAbsence() ?? createBackend("cuda").calibration?.absence();

describe("statistics and methods on cuda", () => {
  test.skipIf(absence !== undefined).each(quantizeChecks.map((check) => [check.name, check] as const))(
    absence === undefined ? "%s" : `%s (skipped: ${absence})`,
    (_, { run }) => {
      const { calibration } = createBackend("cuda");
      expect(run((width, tokens) => new DeviceStatisticsCollector(calibration!, width, tokens))).toEqual([]);
    },
  );
});

test("the checks find nothing wrong with the functions that they compare with", () => {
  for (const { name, run } of quantizeChecks) {
    if (!/statistics|gptq to int4-channel$|awq .* int4-g128|refused/.test(name)) continue;
    expect(
      run((width, tokens) => new PartCollector(width, tokens)),
      name,
    ).toEqual([]);
  }
});
