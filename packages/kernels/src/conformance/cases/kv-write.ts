import { formats, type KvFormatName, kvFormatNames } from "@kvant/formats";
import type { KvScales } from "../../plan.ts";
import type { ConformanceCase } from "../conformance-case.ts";
import { exact } from "../error-budgets.ts";
import { caseOptions, casePlan } from "./case-plan.ts";

const shapes = [
  { headDim: 8, kvHeads: 4, pageTokens: 16 },
  { headDim: 10, kvHeads: 3, pageTokens: 16 },
  { headDim: 16, kvHeads: 2, pageTokens: 32 },
  { headDim: 32, kvHeads: 1, pageTokens: 64 },
  { headDim: 64, kvHeads: 2, pageTokens: 16 },
  { headDim: 80, kvHeads: 1, pageTokens: 32 },
];

/** Pages equal the reference's byte for byte, for every format and kind of scale, over two layers and several chunks. */
export const kvWriteCases: readonly ConformanceCase[] = kvFormatNames.flatMap((format) =>
  shapes.flatMap((shape) =>
    (formats[format].bits === 8 ? (["token-head", "head", "tensor"] as const) : (["none"] as const)).map((kind) =>
      kvWriteCase(format, kind, shape),
    ),
  ),
);

function kvWriteCase(format: KvFormatName, kind: KvScales["kind"], shape: (typeof shapes)[number]): ConformanceCase {
  const { headDim, kvHeads, pageTokens } = shape;
  return {
    name: `kvWrite ${format}, scales ${kind}, ${kvHeads} x ${headDim}, pages of ${pageTokens}`,
    budget: exact,
    exactPages: true,
    setup() {
      const plan = casePlan(headDim * 31 + kvHeads);
      const { builder, random } = plan;
      const width = kvHeads * headDim;
      const group = builder.kvGroup({
        layerCount: 2,
        kvHeads,
        headDim,
        window: undefined,
        format,
        scales: kvScales(kind, 2, kvHeads, format),
      });
      const inputs = [0, 1].map((layer) => {
        const [k, v] = [builder.input(`k${layer}`, width), builder.input(`v${layer}`, width)];
        builder.kvWrite(k, v, group, layer);
        return [k, v];
      });
      const steps = [7, 1, 30, 1].map((tokens) => ({
        inputs: new Map(
          inputs.flat().map((id) => {
            const values = random.normals(tokens * width, 2);
            values.fill(0, 0, headDim); // a head of zeros has scale 0
            values[values.length - 1] = 40; // clipped by static scales
            return [id, values] as const;
          }),
        ),
        rows: [{ slot: 1, tokenIds: random.tokenIds(tokens, 16), wants: "nothing" as const }],
      }));
      return { plan: builder.build(), options: caseOptions(1, { pageTokens }), weights: plan.weights, steps };
    },
  };
}

/** Scales under which values of a few units fill the format's range. */
export function kvScales(kind: KvScales["kind"], layerCount: number, kvHeads: number, format: KvFormatName): KvScales {
  if (kind === "none" || kind === "token-head") return { kind };
  const count = kind === "head" ? layerCount * kvHeads : layerCount;
  const scale = (base: number) =>
    Float32Array.from({ length: count }, (_, i) => (base * (1 + 0.1 * i)) / formats[format].max);
  return { kind, k: scale(6), v: scale(5) };
}
