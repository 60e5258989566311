import { formats, type KvFormatName, parseWeightFormat } from "@kvant/formats";
import type { ActivationScheme, BufferId, WeightClass } from "../plan.ts";
import { caseOptions, casePlan } from "./cases/case-plan.ts";
import { kvScales } from "./cases/kv-write.ts";
import type { CaseSetup } from "./conformance-case.ts";

/** What varies between the small decoders that whole-plan checks run. */
export interface TinyDecoder {
  readonly name: string;
  readonly weights: string;
  readonly activation: ActivationScheme;
  readonly kv: KvFormatName;
  readonly staticKv?: boolean;
  readonly window?: number;
  readonly headNorm?: boolean;
  readonly bias?: boolean;
  /** 70 where absent. */
  readonly inner?: number;
}

/** One decoder per way through the kernels. */
export const tinyDecoders: readonly TinyDecoder[] = [
  { name: "fp32", weights: "fp32", activation: { format: "fp32" }, kv: "fp32" },
  {
    name: "bf16 with head norms and a window",
    weights: "bf16",
    activation: { format: "bf16" },
    kv: "bf16",
    headNorm: true,
    window: 19,
  },
  { name: "fp16 with biases", weights: "fp16", activation: { format: "fp16" }, kv: "fp16", bias: true },
  {
    name: "int8-channel x int8, int8 KV",
    weights: "int8-channel",
    activation: { format: "int8", scale: "token" },
    kv: "int8",
    bias: true,
  },
  {
    name: "int8-tensor x static int8, static int8 KV",
    weights: "int8-tensor",
    activation: { format: "int8", scale: 0.04 },
    kv: "int8",
    staticKv: true,
  },
  {
    name: "int4-g32 x int8, e4m3 KV",
    weights: "int4-g32",
    activation: { format: "int8", scale: "token" },
    kv: "e4m3",
    headNorm: true,
  },
  {
    name: "int4-g32-affine x int8",
    weights: "int4-g32-affine",
    activation: { format: "int8", scale: "token" },
    kv: "bf16",
  },
  { name: "mxfp4 x bf16", weights: "mxfp4", activation: { format: "bf16" }, kv: "bf16" },
  { name: "nvfp4 x fp32", weights: "nvfp4", activation: { format: "fp32" }, kv: "fp32" },
  { name: "int4-g64 x fp32, fp32 KV", weights: "int4-g64", activation: { format: "fp32" }, kv: "fp32" },
  { name: "e4m3-channel x bf16, e5m2 KV", weights: "e4m3-channel", activation: { format: "bf16" }, kv: "e5m2" },
  {
    name: "e4m3-channel x e4m3",
    weights: "e4m3-channel",
    activation: { format: "e4m3", scale: "token" },
    kv: "e4m3",
    bias: true,
  },
  {
    name: "e4m3-tensor x static e4m3",
    weights: "e4m3-tensor",
    activation: { format: "e4m3", scale: 0.01 },
    kv: "bf16",
  },
  {
    name: "fp4-g32 x bf16, static e4m3 KV",
    weights: "fp4-g32",
    activation: { format: "bf16" },
    kv: "e4m3",
    staticKv: true,
  },
];

const [vocabSize, hidden, heads, kvHeads, headDim, layerCount] = [105, 48, 6, 2, 16, 2];

/** Two layers of a Llama-like decoder with random weights: every op, every pattern that a backend may fuse. */
export function tinyDecoder(
  kind: TinyDecoder,
  seed: number,
): Omit<CaseSetup, "steps"> & { readonly taps: readonly BufferId[] } {
  const { inner = 70 } = kind;
  const plan = casePlan(seed, { vocabSize, contextLength: 192 });
  const { builder, random } = plan;
  const fp32 = parseWeightFormat("fp32");
  const vector = (name: string, kind: WeightClass, cols: number, offset: number) =>
    plan.weight(
      { name, class: kind, rows: 1, cols, format: fp32, activation: undefined },
      random.normals(cols, 0.2).map((value) => value + offset),
    );
  const linear = (
    name: string,
    x: BufferId,
    rows: number,
    cols: number,
    hasBias: boolean,
    role: WeightClass = "linear",
  ) => {
    const weight = plan.weight(
      { name, class: role, rows, cols, format: parseWeightFormat(kind.weights), activation: kind.activation },
      random.normals(rows * cols, 1.5 / Math.sqrt(cols)),
    );
    return builder.linear(name, x, weight, hasBias ? vector(`${name}.bias`, "bias", rows, 0) : undefined);
  };
  const scaleKind = formats[kind.kv].bits !== 8 ? "none" : kind.staticKv === true ? "head" : "token-head";
  const group = builder.kvGroup({
    layerCount,
    kvHeads,
    headDim,
    window: kind.window,
    format: kind.kv,
    scales: kvScales(scaleKind, layerCount, kvHeads, kind.kv),
  });
  const rope = builder.ropeTable({
    inverseFrequencies: Float32Array.from({ length: headDim / 2 }, (_, i) => 10_000 ** ((-2 * i) / headDim)),
    magnitude: 1,
  });
  const table = plan.weight(
    {
      name: "table",
      class: "embedding",
      rows: vocabSize,
      cols: hidden,
      format: parseWeightFormat("bf16"),
      activation: undefined,
    },
    random.normals(vocabSize * hidden),
  );
  const hasBias = kind.bias === true;
  const taps: BufferId[] = [];
  let x = builder.embed("embedding", table);
  for (let layer = 0; layer < layerCount; layer++) {
    const normed = builder.rmsNorm(`norm${layer}`, x, vector(`norm${layer}`, "norm", hidden, 1), 1e-5);
    const turn = (part: string, count: number) => {
      const raw = linear(`${part}${layer}`, normed, count * headDim, hidden, hasBias);
      const headNormed =
        kind.headNorm === true
          ? builder.rmsNorm(`${part}_norm`, raw, vector(`${part}_norm`, "norm", headDim, 1), 1e-5)
          : raw;
      return builder.rope(`${part}_rope`, headNormed, rope, headDim);
    };
    const [q, k] = [turn("q", heads), turn("k", kvHeads)];
    const v = linear(`v${layer}`, normed, kvHeads * headDim, hidden, hasBias);
    builder.kvWrite(k, v, group, layer);
    const attended = builder.attention(`attended${layer}`, q, { group, layer, heads, scale: 1 / Math.sqrt(headDim) });
    x = builder.add(`x${layer}`, x, linear(`o${layer}`, attended, hidden, heads * headDim, false));
    const second = builder.rmsNorm(`second${layer}`, x, vector(`second${layer}`, "norm", hidden, 1), 1e-5);
    const gate = linear(`gate${layer}`, second, inner, hidden, false);
    const activated = builder.siluMul(`activated${layer}`, gate, linear(`up${layer}`, second, inner, hidden, false));
    if (layer === 0) {
      builder.tap("activated", activated);
      taps.push(activated);
    }
    x = builder.add(`y${layer}`, x, linear(`down${layer}`, activated, hidden, inner, false));
  }
  const final = builder.rmsNorm("final", builder.gatherRows("wanted", x), vector("final", "norm", hidden, 1), 1e-5);
  builder.logits(linear("logits", final, vocabSize, hidden, false, "head"));
  const built = builder.build();
  return {
    plan: built,
    options: caseOptions(1, { pageCounts: [64], hostPageCounts: [8] }),
    weights: plan.weights,
    taps,
  };
}
