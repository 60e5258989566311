import type { ModelConfig } from "@kvant/checkpoint";
import type { KvFormatName, WeightFormat } from "@kvant/formats";
import { type BufferId, type LinearActivation, type Plan, PlanBuilder } from "@kvant/kernels";
import { ropeTable } from "@kvant/models";

/** One kernel at one shape, as a plan that repeats it. */
export interface KernelCase {
  readonly op: KernelOp;
  /** Which of a model's uses of the op, e.g. `gate+up`; shapes as `[tokens, in] -> out`. */
  readonly name: string;
  readonly weights: WeightFormat | undefined;
  readonly activations: LinearActivation | undefined;
  readonly kvFormat: KvFormatName | undefined;
  /** Tokens of one step. */
  readonly tokens: number;
  /** Live positions of the sequence, those tokens included. */
  readonly context: number;
  /** Bytes that every repetition brings for itself, so that enough of them leave no cache. */
  readonly bytesPerCopy: number;
  /**
   * The op `copies` times over, each with weights or a KV layer of its own; the last one's output is readable. `samples`: the
   * plan also has a few logits, so that its rows can sample as those of a decode step do.
   */
  record(copies: number, samples?: boolean): Plan;
  /** The same on a slice that the plain reference can follow: fewer outputs of a matrix, which are independent. */
  recordSlice(): Plan;
}

export const kernelOps = ["linear", "attention", "kvWrite", "rmsNorm", "rope", "siluMul", "embed"] as const;
export type KernelOp = (typeof kernelOps)[number];

/** Rows of a matrix that the error is taken over. */
const sliceRows = 512;

export interface MatrixShape {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
}

/** The matrices of a dense decoder layer as they run, projections of one input fused, and the head. */
export function matricesOf(config: ModelConfig): readonly MatrixShape[] {
  const { hiddenSize, intermediateSize, headCount, kvHeadCount, headDim, vocabSize } = config;
  return [
    { name: "qkv", rows: (headCount + 2 * kvHeadCount) * headDim, cols: hiddenSize },
    { name: "attention output", rows: hiddenSize, cols: headCount * headDim },
    { name: "gate+up", rows: 2 * intermediateSize, cols: hiddenSize },
    { name: "down", rows: hiddenSize, cols: intermediateSize },
    { name: "head", rows: vocabSize, cols: hiddenSize },
  ];
}

export function linearCase(
  { name, rows, cols }: MatrixShape,
  weights: WeightFormat,
  activations: LinearActivation,
  tokens: number,
  bytesPerCopy: number,
): KernelCase {
  const activation =
    activations === "int8" || activations === "e4m3"
      ? ({ format: activations, scale: "token" } as const)
      : { format: activations };
  const record = (copies: number, outputs: number, samples = false): Plan => {
    const builder = planBuilder(tokens);
    const x = builder.input("x", cols);
    return repeated(builder, copies, samples, (copy) =>
      builder.linear(
        `out ${copy}`,
        x,
        builder.weight({
          name: `weight ${copy}`,
          class: "linear",
          rows: outputs,
          cols,
          format: weights,
          activation,
        }),
      ),
    );
  };
  return {
    op: "linear",
    name: `${name} [${tokens}, ${cols}] -> ${rows}`,
    weights,
    activations,
    kvFormat: undefined,
    tokens,
    context: tokens,
    bytesPerCopy,
    record: (copies, samples) => record(copies, rows, samples),
    recordSlice: () => record(1, Math.min(rows, sliceRows)),
  };
}

/** `attention` also stores the step's own K and V, as every step does; `kvWrite` only stores. */
export function kvCase(
  op: "attention" | "kvWrite",
  config: ModelConfig,
  format: KvFormatName,
  bits: number,
  tokens: number,
  context: number,
): KernelCase {
  const { headCount: heads, kvHeadCount: kvHeads, headDim } = config;
  const live = op === "attention" ? context : tokens;
  const hasScales = bits === 8;
  const record = (copies: number, samples = false): Plan => {
    const builder = planBuilder(context);
    const q = builder.input("q", heads * headDim);
    const [k, v] = [builder.input("k", kvHeads * headDim), builder.input("v", kvHeads * headDim)];
    const scales = { kind: hasScales ? "token-head" : "none" } as const;
    const group = builder.kvGroup({ layerCount: copies, kvHeads, headDim, window: undefined, format, scales });
    return repeated(builder, copies, samples, (layer) => {
      builder.kvWrite(k, v, group, layer);
      if (op === "kvWrite") return undefined;
      return builder.attention(`out ${layer}`, q, { group, layer, heads, scale: 1 / Math.sqrt(headDim) });
    });
  };
  return {
    op,
    name: `[${tokens}, ${op === "attention" ? `${heads}/` : ""}${kvHeads} x ${headDim}]`,
    weights: undefined,
    activations: undefined,
    kvFormat: format,
    tokens,
    context,
    bytesPerCopy: 2 * kvHeads * live * ((headDim * bits) / 8 + (hasScales ? 4 : 0)),
    record,
    recordSlice: () => record(1),
  };
}

/** Ops over activations: they live in caches, in a model as here. */
export function elementwiseCase(
  op: Exclude<KernelOp, "linear" | "attention" | "kvWrite">,
  config: ModelConfig,
  fp32: WeightFormat,
  table: WeightFormat,
  tokens: number,
): KernelCase {
  const { hiddenSize, intermediateSize, headCount, headDim, vocabSize, rmsNormEpsilon } = config;
  const width = { rmsNorm: hiddenSize, rope: headCount * headDim, siluMul: intermediateSize, embed: hiddenSize }[op];
  const record = (copies: number, samples = false): Plan => {
    // Of the embedding alone the ids matter; it samples from no logits as wide as its vocabulary.
    const builder = op === "embed" ? planBuilder(tokens, vocabSize) : planBuilder(tokens);
    if (op === "embed") {
      const weight = { name: "table", class: "embedding", rows: vocabSize, cols: width } as const;
      const id = builder.weight({ ...weight, format: table, activation: undefined });
      return repeated(builder, copies, false, (copy) => builder.embed(`out ${copy}`, id));
    }
    const x = builder.input("x", width);
    if (op === "rope") {
      const rope = builder.ropeTable(ropeTable(config.rope, headDim));
      return repeated(builder, copies, samples, (copy) => builder.rope(`out ${copy}`, x, rope, headDim));
    }
    if (op === "siluMul") {
      const up = builder.input("up", width);
      return repeated(builder, copies, samples, (copy) => builder.siluMul(`out ${copy}`, x, up));
    }
    const norm = { name: "norm", class: "norm", rows: 1, cols: width, format: fp32, activation: undefined } as const;
    const id = builder.weight(norm);
    return repeated(builder, copies, samples, (copy) => builder.rmsNorm(`out ${copy}`, x, id, rmsNormEpsilon));
  };
  return {
    op,
    name: `[${tokens}, ${width}]`,
    weights: op === "embed" ? table : undefined,
    activations: undefined,
    kvFormat: undefined,
    tokens,
    context: tokens,
    bytesPerCopy: 0,
    record,
    recordSlice: () => record(1),
  };
}

const fewLogits = 256;

function planBuilder(contextLength: number, vocabSize = fewLogits): PlanBuilder {
  return new PlanBuilder({ name: "kernel", vocabSize, contextLength });
}

function repeated(
  builder: PlanBuilder,
  copies: number,
  samples: boolean,
  record: (copy: number) => BufferId | undefined,
): Plan {
  let last: BufferId | undefined;
  for (let copy = 0; copy < copies; copy++) last = record(copy);
  if (last !== undefined) builder.output(last);
  if (samples) builder.logits(builder.gatherRows("logits", builder.input("hidden", fewLogits)));
  return builder.build();
}
