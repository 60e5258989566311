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
  { headDim: 128, heads: 8, kvHeads: 2, pageTokens: 32, window: undefined },
];

/** `[steps, rows]` tokens: a prefill beside a short one, decode steps beside chunks, then decode past several pages. */
const mixedChunks = [
  [40, 3],
  [1, 17],
  [90, 1],
  [1, 1],
];

/** Decode and a short chunk far behind, where a backend may split the positions and join the parts. */
const longChunks = [[256], [256], [256], [250], [1], [1], [3]];
const longShape: AttentionShape = { headDim: 64, heads: 4, kvHeads: 1, pageTokens: 16, window: undefined };

/** Every KV format and kind of scale by head dims, head ratios, page sizes and windows; two rows, several chunks. */
export const attentionCases: readonly ConformanceCase[] = [
  ...kvFormatNames.flatMap((format) =>
    shapes.flatMap((shape) =>
      (formats[format].bits === 8 ? (["token-head", "head", "tensor"] as const) : (["none"] as const)).map((kind) =>
        attentionCase(format, kind, shape, mixedChunks),
      ),
    ),
  ),
  attentionCase("bf16", "none", longShape, longChunks),
  attentionCase("e4m3", "token-head", longShape, longChunks),
  attentionCase("int8", "token-head", longShape, longChunks),
];

function attentionCase(
  format: KvFormatName,
  kind: KvScales["kind"],
  shape: AttentionShape,
  chunks: readonly (readonly number[])[],
): ConformanceCase {
  const { headDim, heads, kvHeads, pageTokens, window } = shape;
  const positions = Math.max(...chunks[0]!.map((_, row) => chunks.reduce((sum, counts) => sum + counts[row]!, 0)));
  return {
    name:
      `attention ${format}, scales ${kind}, ${heads} over ${kvHeads} heads of ${headDim}, pages of ${pageTokens}, ${positions} positions` +
      (window === undefined ? "" : `, window ${window}`),
    budget: attentionBudgets[format],
    tensorCoreBudget: tensorCoreBudgets.attention[format],
    exactPages: true,
    setup() {
      const plan = casePlan(headDim * 7 + heads, { contextLength: Math.max(512, positions) });
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
      const pageCounts = [Math.max(24, 1 + Math.ceil(positions / pageTokens))];
      const options = caseOptions(1, { pageTokens, pageCounts });
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
      return { plan: builder.build(), options, weights: plan.weights, steps };
    },
  };
}
