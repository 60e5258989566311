import type { LinearReport } from "@kvant/quantizers";
import { expect, test } from "vitest";
import { layerPlace, layerSeries } from "./layer-series.ts";
import { sampleQuantizationReport } from "./testing/sample-quantization-report.ts";

test("a name says the layer and the projection; experts of a layer share theirs", () => {
  expect(layerPlace("model.layers.12.self_attn.q_proj")).toEqual({ layer: 12, projection: "q_proj" });
  expect(layerPlace("model.layers.3.mlp.experts.7.up_proj")).toEqual({ layer: 3, projection: "mlp.experts.*.up_proj" });
  expect(layerPlace("lm_head")).toEqual({ layer: undefined, projection: "lm_head" });
});

test("of several linear layers in one place the worst counts, and what is outside the layers has no place", () => {
  const [any] = sampleQuantizationReport({ layerCount: 1 }).linears;
  const linear = (name: string, outputRelativeError: number | null): LinearReport => ({
    ...any!,
    name,
    outputRelativeError,
  });
  const linears = [
    linear("lm_head", 9),
    linear("layers.1.experts.0.up", 0.2),
    linear("layers.1.experts.1.up", 0.3),
    linear("layers.1.experts.2.up", null),
    linear("layers.0.experts.0.up", null),
  ];
  const measure = (one: LinearReport): number | null => one.outputRelativeError;
  expect(layerSeries(linears, measure)).toEqual([{ name: "experts.*.up", x: [0, 1], y: [null, 0.3] }]);
  expect(layerSeries(linears, measure, "low")[0]!.y).toEqual([null, 0.2]);
});
