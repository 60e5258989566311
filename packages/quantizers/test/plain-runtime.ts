import type { LayerPart, LayerTensors, QuantizeRuntime } from "../src/model/quantize-runtime.ts";
import { feedTap, keysTap, valuesTap } from "../src/model/quantize-runtime.ts";
import { normals } from "./random-matrices.ts";

const hiddenSize = 24;
const headCount = 4;
const kvHeadCount = 2;
const headDim = 6;
const attendedWidth = headCount * headDim;
const kvWidth = kvHeadCount * headDim;
const innerWidth = 40;

const shapes = {
  "input_layernorm.weight": [1, hiddenSize],
  "self_attn.k_proj.weight": [kvWidth, hiddenSize],
  "self_attn.v_proj.weight": [kvWidth, hiddenSize],
  "self_attn.v_proj.bias": [1, kvWidth],
  "self_attn.o_proj.weight": [hiddenSize, attendedWidth],
  "post_attention_layernorm.weight": [1, hiddenSize],
  "mlp.gate_proj.weight": [innerWidth, hiddenSize],
  "mlp.up_proj.weight": [innerWidth, hiddenSize],
  "mlp.down_proj.weight": [hiddenSize, innerWidth],
} as const;
type Name = keyof typeof shapes;

/**
 * Decoder layers in plain float64: values are weighed by how their keys suit those of the token (`exp(k . k' / headDim)`, so that
 * there is no query), two heads read each KV head, and the feed-forward part is gated. Everything a fold meets in a real layer:
 * norms, a linear maker with a bias, shared sources, products that commute.
 */
export class PlainRuntime implements QuantizeRuntime {
  readonly layerCount: number;
  readonly hiddenSize = hiddenSize;
  readonly kvHeadCount = kvHeadCount;
  readonly headDim = headDim;
  readonly vocabSize = 50;
  readonly contextLength = 64;
  readonly beginningOfSequenceId = undefined;
  readonly #embedding: Float32Array; // [vocabSize, hiddenSize]

  constructor(seed: number, layerCount = 2) {
    this.layerCount = layerCount;
    this.#embedding = normals(seed, this.vocabSize * hiddenSize);
  }

  parts(layer: number): readonly LayerPart[] {
    const prefix = `model.layers.${layer}`;
    const same = (width: number) => Int32Array.from({ length: width }, (_, channel) => channel);
    const valueRow = (channel: number) => Math.floor(channel / headDim / 2) * headDim + (channel % headDim);
    return [
      {
        modules: [`${prefix}.self_attn.k_proj`, `${prefix}.self_attn.v_proj`],
        width: hiddenSize,
        madeBy: { kind: "norm", module: `${prefix}.input_layernorm` },
        source: same(hiddenSize),
        hasSourceBias: false,
      },
      {
        modules: [`${prefix}.self_attn.o_proj`],
        width: attendedWidth,
        madeBy: { kind: "linear", module: `${prefix}.self_attn.v_proj` },
        source: Int32Array.from({ length: attendedWidth }, (_, channel) => valueRow(channel)),
        hasSourceBias: true,
      },
      {
        modules: [`${prefix}.mlp.gate_proj`, `${prefix}.mlp.up_proj`],
        width: hiddenSize,
        madeBy: { kind: "norm", module: `${prefix}.post_attention_layernorm` },
        source: same(hiddenSize),
        hasSourceBias: false,
      },
      {
        modules: [`${prefix}.mlp.down_proj`],
        width: innerWidth,
        madeBy: { kind: "linear", module: `${prefix}.mlp.up_proj` },
        source: same(innerWidth),
        hasSourceBias: false,
      },
    ];
  }

  tensorNames(layer: number): readonly string[] {
    return Object.keys(shapes).map((name) => `model.layers.${layer}.${name}`);
  }

  embed(tokenIds: Int32Array): Float32Array {
    const rows = [...tokenIds].flatMap((id) => [...this.#embedding.subarray(id * hiddenSize, (id + 1) * hiddenSize)]);
    return Float32Array.from(rows);
  }

  async forwardLayer(
    layer: number,
    tensors: LayerTensors,
    states: readonly Float32Array[],
    { taps, states: fate, onSequence }: Parameters<QuantizeRuntime["forwardLayer"]>[3],
  ): Promise<void> {
    for (const sequence of states) {
      const { output, read } = plainLayer(layer, tensors, sequence);
      for (const tap of taps) feedTap(tap, Float32Array.from(read.get(tap.name)!), sequence.length / hiddenSize);
      if (fate === "replace") sequence.set(output);
      onSequence?.();
    }
  }
}

/** Random tensors of a layer by their names: norms near 1, some channels of the stream much larger than the others. */
export function plainTensors(layer: number, seed: number): Map<string, Float32Array> {
  const entries = Object.entries(shapes).map(([name, [rows, cols]], index) => {
    const random = normals(seed + 100 * layer + index, rows * cols);
    const values = name.includes("norm")
      ? random.map((value, i) => (i % 9 === 2 ? 12 : 1) * (1 + 0.1 * value))
      : random.map((value) => value / Math.sqrt(cols));
    return [`model.layers.${layer}.${name}`, values] as const;
  });
  return new Map(entries);
}

/** One layer over `[tokens, hiddenSize]` in float64; `read` is what each module reads, and `keys` and `values`. */
export function plainLayer(layer: number, tensors: LayerTensors, states: ArrayLike<number>) {
  const tensor = (name: Name) => tensors.get(`model.layers.${layer}.${name}`)!;
  const tokens = states.length / hiddenSize;
  const linear = (name: Name, x: Float64Array) => {
    const [rows, cols] = shapes[name];
    return product(x, tensor(name), tokens, rows, cols);
  };
  const normed = rmsNorm(Float64Array.from(states), tensor("input_layernorm.weight"));
  const keys = linear("self_attn.k_proj.weight", normed);
  const bias = tensor("self_attn.v_proj.bias");
  const values = linear("self_attn.v_proj.weight", normed).map((value, i) => value + bias[i % kvWidth]!);
  const attended = attend(keys, values, tokens);
  const between = linear("self_attn.o_proj.weight", attended).map((value, i) => value + states[i]!);
  const wide = rmsNorm(between, tensor("post_attention_layernorm.weight"));
  const gate = linear("mlp.gate_proj.weight", wide);
  const gated = linear("mlp.up_proj.weight", wide).map((value, i) => value * (gate[i]! / (1 + Math.exp(-gate[i]!))));
  const output = linear("mlp.down_proj.weight", gated).map((value, i) => value + between[i]!);
  const prefix = `model.layers.${layer}`;
  const read = new Map([
    [`${prefix}.self_attn.k_proj`, normed],
    [`${prefix}.self_attn.o_proj`, attended],
    [`${prefix}.mlp.gate_proj`, wide],
    [`${prefix}.mlp.down_proj`, gated],
    [keysTap, keys],
    [valuesTap, values],
  ]);
  return { output, read };
}

function attend(keys: Float64Array, values: Float64Array, tokens: number): Float64Array {
  const attended = new Float64Array(tokens * attendedWidth);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < headCount; head++) {
      const first = Math.floor(head / 2) * headDim;
      const weights = Array.from({ length: token + 1 }, (_, earlier) => {
        let sum = 0;
        for (let d = 0; d < headDim; d++) {
          sum += keys[token * kvWidth + first + d]! * keys[earlier * kvWidth + first + d]!;
        }
        return Math.exp(sum / headDim / (1 + head));
      });
      const whole = weights.reduce((a, b) => a + b);
      for (let d = 0; d < headDim; d++) {
        const at = token * attendedWidth + head * headDim + d;
        weights.forEach((weight, earlier) => {
          attended[at]! += (weight / whole) * values[earlier * kvWidth + first + d]!;
        });
      }
    }
  }
  return attended;
}

function rmsNorm(x: Float64Array, weight: Float32Array): Float64Array {
  return x.map((value, i) => {
    const start = i - (i % hiddenSize);
    const meanSquare = x.subarray(start, start + hiddenSize).reduce((sum, each) => sum + each * each, 0) / hiddenSize;
    return (value / Math.sqrt(meanSquare + 1e-6)) * weight[i % hiddenSize]!;
  });
}

/** `x w^T` of `[tokens, cols]` and `[rows, cols]`. */
function product(x: Float64Array, w: Float32Array, tokens: number, rows: number, cols: number): Float64Array {
  return Float64Array.from({ length: tokens * rows }, (_, i) => {
    const [token, row] = [Math.floor(i / rows), i % rows];
    let sum = 0;
    for (let col = 0; col < cols; col++) sum += x[token * cols + col]! * w[row * cols + col]!;
    return sum;
  });
}
