import { formats, type KvFormatName, kvFormatNames } from "@kvant/formats";
import type { KvScales } from "../../plan.ts";
import type { ConformanceCase } from "../conformance-case.ts";
import { attentionBudgets, tensorCoreBudgets } from "../error-budgets.ts";
import { caseOptions, casePlan } from "./case-plan.ts";
import { kvScales } from "./kv-write.ts";

interface AttentionShape {
  readonly headDim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly pageTokens: number;
  readonly window: number | undefined;
}

const shapes: readonly AttentionShape[] = [
  { headDim: 8, heads: 8, kvHeads: 4, pageTokens: 16, window: undefined },
  { headDim: 16, heads: 4, kvHeads: 2, pageTokens: 16, window: 32 },
  { headDim: 32, heads: 4, kvHeads: 2, pageTokens: 32, window: undefined },
  { headDim: 10, heads: 3, kvHeads: 3, pageTokens: 16, window: 5 },
  { headDim: 64, heads: 6, kvHeads: 2, pageTokens: 16, window: undefined },
  { headDim: 64, heads: 7, kvHeads: 1, pageTokens: 64, window: 100 },
  { headDim: 80, heads: 2, kvHeads: 1, pageTokens: 32, window: undefined },
  { headDim: 128, heads: 2, kvHeads: 2, pageTokens: 16, window: undefined },
];

/** Every KV format and kind of scale by head dims, head ratios, page sizes and windows; two rows, several chunks. */
export const attentionCases: readonly ConformanceCase[] = kvFormatNames.flatMap((format) =>
  shapes.flatMap((shape) =>
    (formats[format].bits === 8 ? (["token-head", "head", "tensor"] as const) : (["none"] as const)).map((kind) =>
      attentionCase(format, kind, shape),
    ),
  ),
);

function attentionCase(format: KvFormatName, kind: KvScales["kind"], shape: AttentionShape): ConformanceCase {
  const { headDim, heads, kvHeads, pageTokens, window } = shape;
  return {
    name:
      `attention ${format}, scales ${kind}, ${heads} over ${kvHeads} heads of ${headDim}, pages of ${pageTokens}` +
      (window === undefined ? "" : `, window ${window}`),
    budget: attentionBudgets[format],
    tensorCoreBudget: tensorCoreBudgets.attention[format],
    exactPages: true,
    setup() {
      const plan = casePlan(headDim * 7 + heads);
      const { builder, random } = plan;
      const group = builder.kvGroup({
        layerCount: 1,
        kvHeads,
        headDim,
        window,
        format,
        scales: kvScales(kind, 1, kvHeads, format),
      });
      const q = builder.input("q", heads * headDim);
      const [k, v] = [builder.input("k", kvHeads * headDim), builder.input("v", kvHeads * headDim)];
      builder.kvWrite(k, v, group, 0);
      builder.output(builder.attention("out", q, { group, layer: 0, heads, scale: 1 / Math.sqrt(headDim) }));
      // A prefill beside a short one, decode steps beside chunks, then decode past several pages.
      const chunks = [
        [40, 3],
        [1, 17],
        [90, 1],
        [1, 1],
      ];
      const steps = chunks.map((counts) => {
        const tokens = counts.reduce((a, b) => a + b);
        return {
          inputs: new Map(
            [q, k, v].map((id) => [id, random.normals(tokens * (id === q ? heads : kvHeads) * headDim)] as const),
          ),
          rows: counts.map((count, slot) => ({
            slot,
            tokenIds: random.tokenIds(count, 16),
            wants: "nothing" as const,
          })),
        };
      });
      return { plan: builder.build(), options: caseOptions(1, { pageTokens }), weights: plan.weights, steps };
    },
  };
}
